"""Prompts: their values, sets, validation and JSON file."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from surgsam2.errors import OutputError, PromptError
from surgsam2.prompts import (
    Prompt,
    PromptedObject,
    PromptSet,
    VideoShape,
    load_prompts,
    save_prompts,
)
from surgsam2.storage.palette import default_color

QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def a_mask(height: int = 6, width: int = 8) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[1:3, 2:5] = True
    return mask


@pytest.fixture
def a_file(tmp_path):
    """Write a prompt file with this text or structure and return its path."""

    def write(content, name="prompts.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def with_prompt(**prompt):
    return {"version": 1, "objects": [{"id": 1, "prompts": [{"frame": 0, **prompt}]}]}


class TestPromptSet:
    def test_add_chains_and_keeps_the_order_of_first_addition(self):
        prompts = (
            PromptSet()
            .add(object_id=7, frame=9, points=[[1, 2, 1], [3, 4.5, 0]], name="duct")
            .add(object_id=2, frame=0, box=[1, 2, 3, 4], color="#AABBCC")
            .add(object_id=7, frame=3, mask=a_mask())
        )
        assert [item.id for item in prompts] == [7, 2]
        assert len(prompts) == 2
        assert prompts.frames == (0, 3, 9)
        assert [prompt.frame for prompt in prompts.for_object(7).prompts] == [3, 9]
        assert prompts.on_frame(1) == {}
        (prompt,) = prompts.on_frame(9).values()
        assert prompt.points.dtype == np.float32
        assert prompt.points.tolist() == [[1, 2], [3, 4.5]]
        assert prompt.labels.tolist() == [1, 0]
        assert prompts.for_object(2).color == "#aabbcc"
        assert prompts.for_object(2).rgb == (0xAA, 0xBB, 0xCC)
        assert prompts.for_object(2).name == "object 2"

    def test_points_and_a_box_on_one_frame_merge(self):
        prompts = PromptSet().add(object_id=1, frame=0, points=[[1, 1, 1]])
        prompts.add(object_id=1, frame=0, box=[0, 0, 5, 5], name="liver")
        prompts.add(object_id=1, frame=0, points=[[2, 2, 0]])  # a negative point goes with a box
        (prompt,) = prompts.for_object(1).prompts
        assert prompt.labels.tolist() == [1, 0]
        assert prompt.box.tolist() == [0, 0, 5, 5]
        assert prompts.for_object(1).name == "liver"

    @pytest.mark.parametrize(
        ("first", "second", "message"),
        [
            ({"box": [0, 0, 1, 1]}, {"box": [0, 0, 2, 2]}, "object 1, frame 4: .*a box already"),
            ({"mask": a_mask()}, {"mask": a_mask()}, "a mask already"),
            ({"mask": a_mask()}, {"points": [[1, 1, 1]]}, "cannot be combined"),
            ({"box": [0, 0, 1, 1]}, {"mask": a_mask()}, "cannot be combined"),
        ],
    )
    def test_refused_merges_leave_the_set_as_it_was(self, first, second, message):
        prompts = PromptSet().add(object_id=1, frame=4, **first)
        before = prompts.objects
        with pytest.raises(PromptError, match=message):
            prompts.add(object_id=1, frame=4, name="other", **second)
        assert prompts.objects == before

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "object 1, frame 0: nothing is marked"),
            ({"points": []}, "nothing is marked"),
            ({"points": [[1, 2]]}, r"points must be \[\[x, y, label\], ...\]"),
            ({"points": [1, 2, 1]}, "points must be"),
            ({"points": [[1, 2, 1], [1, 2]]}, "must be numbers"),
            ({"points": [["1", "2", "1"]]}, "must be numbers"),
            ({"points": [[10**400, 2, 1]]}, "must be numbers"),
            ({"points": [[1, 2, 2]]}, "the label of the point .* got 2"),
            ({"points": [[1, 2, 0.5]]}, "got 0.5"),
            ({"points": [[np.nan, 2, 1]]}, "finite"),
            ({"points": [[1e39, 2, 1]]}, "finite"),
            ({"points": [[1, 2, 0]]}, "add a positive point or a box"),
            ({"box": [1, 2, 3]}, r"must be \[x0, y0, x1, y1\]"),
            ({"box": [3, 3, 1, 1]}, "empty or inverted"),
            ({"box": [1, 1, 1, 4]}, "empty or inverted"),
            ({"box": [1, 1, np.inf, 4]}, "finite"),
            ({"mask": np.zeros((4, 4), bool)}, "the mask is empty"),
            ({"mask": np.ones((4, 4), np.float32)}, "bool or integers"),
            ({"mask": np.ones(4, bool)}, "bool or integers"),
            ({"mask": a_mask(), "points": [[1, 1, 1]]}, "cannot be combined"),
            ({"frame": -1, "box": [0, 0, 1, 1]}, "frame must be a whole number"),
            ({"frame": 1.0, "box": [0, 0, 1, 1]}, "got 1.0"),
            ({"object_id": 0, "box": [0, 0, 1, 1]}, "from 1 to 65535, got 0"),
            ({"object_id": 65536, "box": [0, 0, 1, 1]}, "65536"),
            ({"object_id": True, "box": [0, 0, 1, 1]}, "True"),
            ({"box": [0, 0, 1, 1], "color": "red"}, "'#e8c468', got 'red'"),
            ({"box": [0, 0, 1, 1], "name": " "}, "the name must be text"),
            ({"box": [0, 0, 1, 1], "name": "a\nb"}, "one line of plain text"),
            ({"box": [0, 0, 1, 1], "name": "\ud800"}, "one line of plain text"),
        ],
    )
    def test_refusals(self, arguments, message):
        prompts = PromptSet()
        with pytest.raises(PromptError, match=message) as caught:
            prompts.add(**{"object_id": 1, "frame": 0, **arguments})
        assert len(prompts) == 0
        assert "\n" not in str(caught.value)

    def test_numpy_values_and_integer_masks_are_accepted(self):
        prompts = PromptSet().add(
            object_id=np.int64(3), frame=np.uint8(2), mask=a_mask().astype(np.uint8) * 255
        )
        assert prompts.on_frame(2)[3].mask.dtype == bool
        assert prompts.on_frame(2)[3] == Prompt(2, mask=a_mask())

    def test_arrays_are_copied_and_read_only(self):
        mask = a_mask()
        prompts = PromptSet().add(object_id=1, frame=0, mask=mask)
        mask[:] = False
        kept = prompts.on_frame(0)[1].mask
        assert kept.any()
        with pytest.raises(ValueError, match="read-only"):
            kept[0, 0] = True

    def test_remove(self):
        prompts = PromptSet().add(object_id=1, frame=0, box=[0, 0, 1, 1])
        assert len(prompts.remove(1)) == 0
        with pytest.raises(PromptError, match="no object 1; known object ids: none"):
            prompts.remove(1)
        with pytest.raises(PromptError, match="no object 5"):
            prompts.for_object(5)

    def test_default_colors_differ(self):
        assert len({default_color(i) for i in range(1, 256)}) == 255

    def test_an_object_needs_prompts_and_one_per_frame(self):
        with pytest.raises(PromptError, match=r"object 3 .*no prompts"):
            PromptedObject(3, "x", "#000000", ())
        prompt = Prompt(1, box=[0, 0, 1, 1])
        with pytest.raises(PromptError, match="two prompts on frame 1"):
            PromptedObject(3, "x", "#000000", (prompt, prompt))

    def test_equality(self):
        def make(**changes):
            return PromptSet().add(**{"object_id": 1, "frame": 0, "box": [0, 0, 1, 1], **changes})

        assert make() == make()
        assert make() != make(frame=1)
        assert make() != make(box=[0, 0, 1, 2])
        assert make() != make(name="x")
        assert make() != make(points=[[0, 0, 1]])
        assert make() != "prompts"
        assert "object 1" in repr(make())


class TestValidate:
    @pytest.mark.parametrize("x", [-0.5, 0, 7.25])
    def test_accepts_the_whole_frame(self, x):
        prompts = PromptSet().add(object_id=1, frame=4, points=[[x, -0.5, 1]])
        prompts.add(object_id=1, frame=4, box=[-0.5, -0.5, 7.5, 5.5])
        prompts.add(object_id=1, frame=3, mask=a_mask())
        prompts.validate(8, 6, 5)
        prompts.validate(8, 6)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"points": [[7.5, 0, 1]]}, r"object 1 \(liver\), frame 0: the point \[7.5, 0\]"),
            ({"points": [[0, -0.6, 1]]}, "outside the 8 x 6 frame"),
            ({"box": [0, 0, 8.6, 2]}, r"the box \[0, 0, 8.6, 2\] leaves the 8 x 6 frame"),
            ({"box": [-1.6, 0, 2, 2]}, "leaves"),
            ({"mask": a_mask(4, 4)}, "the mask has 4 x 4 pixels, the video 8 x 6"),
            ({"frame": 5, "box": [0, 0, 1, 1]}, "the video has 5 frames; the last one is frame 4"),
        ],
    )
    def test_refusals(self, arguments, message):
        prompts = PromptSet().add(**{"object_id": 1, "frame": 0, "name": "liver", **arguments})
        with pytest.raises(PromptError, match=message):
            prompts.validate(8, 6, 5)

    def test_no_prompts(self):
        with pytest.raises(PromptError, match="there are no prompts"):
            PromptSet().validate(8, 6)

    def test_the_recorded_video_must_be_this_one(self):
        prompts = PromptSet(video=VideoShape(8, 6, 5)).add(object_id=1, frame=0, box=[0, 0, 1, 1])
        prompts.validate(8, 6, 5)
        prompts.validate(8, 6)
        with pytest.raises(PromptError, match="width is 8 in the prompts and 9 in the video"):
            prompts.validate(9, 6, 5)
        with pytest.raises(PromptError, match=r"height .* number of frames is 5"):
            prompts.validate(8, 7, 6)


class TestFile:
    def test_round_trip_and_readable_text(self, tmp_path):
        prompts = PromptSet(video=VideoShape(8, 6, 10))
        prompts.add(object_id=2, frame=1, points=[[0.1, 3.4028235e38, 1]], name="Gallenblase ü")
        prompts.add(object_id=2, frame=0, mask=a_mask())
        prompts.add(object_id=1, frame=0, box=[1 / 3, 1, 2, 3])
        save_prompts(prompts, tmp_path / "a b.json")
        assert load_prompts(tmp_path / "a b.json") == prompts
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            "a b.json",
            "a b_object2_frame0.png",
        ]
        text = (tmp_path / "a b.json").read_text(encoding="utf-8")
        assert '"points": [[0.1, 3.4028235e+38, 1]]' in text
        assert "ü" in text
        assert np.array_equal(
            np.asarray(Image.open(tmp_path / "a b_object2_frame0.png")) > 0, a_mask()
        )

    def test_video_may_be_given_when_saving(self, tmp_path):
        class AnOpenVideo:
            width, height, frame_count = 8, 6, 0  # 0 means that it is not known

        prompts = PromptSet().add(object_id=1, frame=0, box=[0, 0, 1, 1])
        save_prompts(prompts, tmp_path / "p.json", AnOpenVideo())
        assert load_prompts(tmp_path / "p.json").video == VideoShape(8, 6)
        save_prompts(prompts, tmp_path / "p.json", VideoShape(1, 2, 3))
        assert load_prompts(tmp_path / "p.json").video == VideoShape(1, 2, 3)

    def test_an_empty_set_and_null_values(self, tmp_path, a_file):
        save_prompts(PromptSet(), tmp_path / "p.json")
        assert load_prompts(tmp_path / "p.json") == PromptSet()
        prompts = load_prompts(a_file(with_prompt(points=[[1, 1, 1]], box=None, mask=None)))
        assert prompts.on_frame(0)[1].box is None

    def test_a_byte_order_mark_is_accepted(self, tmp_path):
        (tmp_path / "p.json").write_bytes(
            b"\xef\xbb\xbf" + json.dumps(with_prompt(box=[0, 0, 1, 1])).encode()
        )
        assert len(load_prompts(tmp_path / "p.json")) == 1

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "line 1, column 1: not valid JSON"),
            ('{"version": 1,}', "not valid JSON"),
            ("[" * 100_000, "nested too deeply"),
            ("1" * 5000, "too many digits"),
            ([], r"must be an object \{...\}, got \[\]"),
            ({"objects": []}, "the key 'version' is missing"),
            ({"version": 2, "objects": []}, "version: must be 1, got 2"),
            ({"version": True, "objects": []}, "version: must be 1"),
            ({"version": 1, "objects": {}}, r"objects: must be a list"),
            ({"version": 1, "objects": [3]}, r"objects\[0\]: must be an object"),
            ({"version": 1, "objcts": []}, "objcts: unknown key; did you mean 'objects'"),
            ({"version": 1, "objects": [], "zzz": 1}, "zzz: unknown key; known keys: version"),
            ({"version": 1, "objects": [], "video": 3}, "video: must be an object"),
            ({"version": 1, "objects": [], "video": {"width": 1}}, "video: the key 'height'"),
            (
                {"version": 1, "objects": [], "video": {"width": 0, "height": 1}},
                "video.width must be a whole number from 1",
            ),
            (
                {"version": 1, "objects": [{"id": 1, "prompts": []}]},
                r"objects\[0\].prompts: no prompts",
            ),
            ({"version": 1, "objects": [{"id": "1", "prompts": []}]}, r"objects\[0\].id: .*'1'"),
            (
                {
                    **with_prompt(box=[0, 0, 1, 1]),
                    "objects": with_prompt(box=[0, 0, 1, 1])["objects"] * 2,
                },
                r"objects\[1\].id: object id 1 is used by objects\[0\] already",
            ),
            (with_prompt(pints=[]), r"objects\[0\].prompts\[0\].pints: .*did you mean 'points'"),
            (with_prompt(points=[[1, 2]]), r"points\[0\]: must be \[x, y, label\], got \[1, 2\]"),
            (with_prompt(points=[[1, "2", 1]]), r"points\[0\]\[1\]: must be a number, got '2'"),
            (with_prompt(points=[[1, True, 1]]), "must be a number, got True"),
            (with_prompt(points=[[1, float("nan"), 1]]), r"points\[0\]\[1\]: .*finite"),
            (with_prompt(points=[[1, 10**400, 1]]), "finite"),
            (with_prompt(points=[[1, 2, 3]]), r"points\[0\]\[2\]: the label must be 1 .* got 3"),
            (with_prompt(points=[[1, 2, 0]]), "add a positive point or a box"),
            (with_prompt(box=[1, 2, 3]), "box: must be"),
            (with_prompt(frame=-1, box=[0, 0, 1, 1]), r"prompts\[0\].frame: must be a whole"),
            (with_prompt(mask=3), "mask: must be the path"),
            (with_prompt(mask="none.png"), "mask: the mask file 'none.png' does not exist"),
            (with_prompt(mask="/etc/x.png"), "is absolute"),
            (with_prompt(mask="C:\\x.png"), "is absolute"),
            (with_prompt(mask="a/../../x.png"), "leaves the prompt file's folder"),
            (with_prompt(mask="..\\x.png"), "leaves the prompt file's folder"),
            (with_prompt(mask="a\0.png"), "is not a file name"),
            (with_prompt(mask="x" * 5000), "mask"),
            (with_prompt(mask="."), "is not a file"),
            (with_prompt(mask="prompts.json"), "not a PNG image"),
            ('{"version": 1, "objects": [{"id": 1, "id": 2, "prompts": []}]}', "given twice"),
        ],
    )
    def test_refusals_name_the_file_and_the_place(self, a_file, content, message):
        path = a_file(content)
        with pytest.raises(PromptError, match=message) as caught:
            load_prompts(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    def test_unreadable_files(self, tmp_path, monkeypatch):
        with pytest.raises(PromptError, match=r"none\.json: .* cannot be read: No such"):
            load_prompts(tmp_path / "none.json")
        with pytest.raises(PromptError, match="cannot be read"):
            load_prompts(tmp_path)
        (tmp_path / "p.json").write_bytes(b"\xff\xfe{\0")
        with pytest.raises(PromptError, match="UTF-8"):
            load_prompts(tmp_path / "p.json")
        monkeypatch.setattr("surgsam2.prompts.file.MAX_FILE_BYTES", 1)
        with pytest.raises(PromptError, match="larger than"):
            load_prompts(tmp_path / "p.json")

    def test_links_may_not_leave_the_folder(self, tmp_path, a_file):
        inside = tmp_path / "in"
        inside.mkdir()
        Image.fromarray(a_mask()).save(tmp_path / "secret.png")
        Image.fromarray(a_mask()).save(inside / "own.png")
        (inside / "out.png").symlink_to(tmp_path / "secret.png")
        (inside / "near.png").symlink_to("own.png")
        (inside / "loop.png").symlink_to("loop.png")
        with pytest.raises(PromptError, match="is a link that leaves"):
            load_prompts(a_file(with_prompt(mask="out.png"), "in/p.json"))
        with pytest.raises(PromptError, match=r"loop\.png"):
            load_prompts(a_file(with_prompt(mask="loop.png"), "in/p.json"))
        assert len(load_prompts(a_file(with_prompt(mask="near.png"), "in/p.json"))) == 1

    @pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "LA", "RGB", "RGBA"])
    def test_mask_images_of_every_kind(self, tmp_path, a_file, mode):
        mask = a_mask()
        if mode == "I;16":
            image = Image.fromarray(mask.astype(np.uint16) * 256)
        elif mode == "P":
            image = Image.fromarray(mask.astype(np.uint8) * 3)
            image.putpalette(bytes(768))
        else:
            image = Image.fromarray(mask.astype(np.uint8) * 255).convert(mode)
        image.save(tmp_path / "m.png")
        prompts = load_prompts(a_file(with_prompt(mask="m.png")))
        assert np.array_equal(prompts.on_frame(0)[1].mask, mask)

    def test_bad_mask_images(self, tmp_path, a_file, monkeypatch):
        Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
        with pytest.raises(PromptError, match="too many"):
            load_prompts(a_file(with_prompt(mask="huge.png")))
        Image.fromarray(a_mask()).resize((80, 60)).save(tmp_path / "m.png")
        data = (tmp_path / "m.png").read_bytes()
        (tmp_path / "cut.png").write_bytes(data[:50])
        with pytest.raises(PromptError, match="damaged image"):
            load_prompts(a_file(with_prompt(mask="cut.png")))
        Image.new("L", (4, 4)).save(tmp_path / "empty.png")
        with pytest.raises(PromptError, match="the mask is empty"):
            load_prompts(a_file(with_prompt(mask="empty.png")))
        monkeypatch.setenv("SURGSAM2_MAX_FRAME_PIXELS", "10")
        with pytest.raises(PromptError, match="80x60 pixels, more than"):
            load_prompts(a_file(with_prompt(mask="m.png")))

    def test_a_failed_save_keeps_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "p.json"
        prompts = PromptSet().add(object_id=1, frame=0, box=[0, 0, 1, 1])
        save_prompts(prompts, path)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OutputError, match=r"p\.json: No space left"):
            save_prompts(PromptSet(), path)
        monkeypatch.undo()
        assert load_prompts(path) == prompts
        assert list(tmp_path.iterdir()) == [path]

    def test_saving_into_a_missing_folder(self, tmp_path):
        with pytest.raises(OutputError, match="none"):
            save_prompts(PromptSet(), tmp_path / "none" / "p.json")


# --- properties -------------------------------------------------------------------------

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20)


@st.composite
def prompt_sets(draw):
    shape = st.builds(VideoShape, st.integers(1, 99), st.integers(1, 99), st.none() | st.just(7))
    prompts = PromptSet(video=draw(st.none() | shape))
    for object_id in draw(st.lists(st.integers(1, 65535), unique=True, max_size=3)):
        for frame in draw(st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=2)):
            kind = draw(st.sampled_from(["points", "box", "both", "mask"]))
            arguments = {}
            if kind == "mask":
                mask = np.array(draw(st.lists(st.booleans(), min_size=6, max_size=6)))
                mask[0] = True
                arguments["mask"] = mask.reshape(2, 3)
            if kind in ("points", "both"):
                rows = draw(st.lists(st.tuples(finite, finite, st.integers(0, 1)), max_size=3))
                arguments["points"] = [[0.5, 0.1, 1], *rows]
            if kind in ("box", "both"):
                xs = sorted(draw(st.tuples(finite, finite).filter(lambda v: v[0] != v[1])))
                ys = sorted(draw(st.tuples(finite, finite).filter(lambda v: v[0] != v[1])))
                arguments["box"] = [xs[0], ys[0], xs[1], ys[1]]
            name = draw(st.none() | names.filter(str.strip))
            prompts.add(object_id=object_id, frame=frame, name=name, **arguments)
    return prompts


@QUICK
@given(prompt_sets())
def test_saved_prompts_load_equal(prompts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.json"
        save_prompts(prompts, path)
        assert load_prompts(path) == prompts


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def almost(strategy):
    return strategy | anything


prompt_like = st.fixed_dictionaries(
    {"frame": almost(st.integers(0, 5))},
    optional={
        "points": almost(st.lists(st.lists(almost(st.floats()), min_size=3, max_size=3))),
        "box": almost(st.lists(st.floats(), min_size=4, max_size=4)),
        "mask": anything,
        "pints": anything,
    },
)
file_like = st.fixed_dictionaries(
    {
        "version": almost(st.just(1)),
        "objects": almost(
            st.lists(
                almost(
                    st.fixed_dictionaries(
                        {
                            "id": almost(st.integers(1, 3)),
                            "prompts": almost(st.lists(almost(prompt_like), max_size=3)),
                        },
                        optional={"name": almost(st.text()), "color": almost(st.just("#000000"))},
                    )
                ),
                max_size=3,
            )
        ),
    },
    optional={
        "video": almost(
            st.fixed_dictionaries({"width": almost(st.integers()), "height": st.integers()})
        )
    },
)


@contextlib.contextmanager
def only_prompt_errors():
    """Let the block succeed or raise a `PromptError` of one line, and nothing else."""
    message = ""
    try:
        yield
    except PromptError as error:
        message = str(error)
    assert "\n" not in message


@QUICK
@given(almost(file_like))
def test_no_structure_raises_anything_but_prompt_error(tmp_path, data):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(data))
    with only_prompt_errors():
        load_prompts(path).validate(10, 10, 3)


@QUICK
@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_prompt_error(tmp_path, data):
    (tmp_path / "p.json").write_bytes(data)
    with only_prompt_errors():
        load_prompts(tmp_path / "p.json")


@QUICK
@given(st.data())
def test_no_damaged_mask_raises_anything_but_prompt_error(tmp_path, data):
    save_prompts(PromptSet().add(object_id=1, frame=0, mask=a_mask()), tmp_path / "p.json")
    path = tmp_path / "p_object1_frame0.png"
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with only_prompt_errors():
        load_prompts(tmp_path / "p.json")


def test_a_frame_that_is_repeated_often_takes_linear_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each addition copies the points that are there, so there must be few of them."""
    calls = []
    add = PromptSet.add

    def counted(self: PromptSet, **mark: Any) -> PromptSet:
        calls.append(mark)
        return add(self, **mark)

    monkeypatch.setattr(PromptSet, "add", counted)
    marks: list[dict[str, Any]] = [{"frame": 3, "points": [[i % 50, 7, 1]]} for i in range(5000)]
    marks.insert(2000, {"frame": 3, "box": [1, 2, 60, 40]})
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"version": 1, "objects": [{"id": 1, "prompts": marks}]}))
    (prompt,) = load_prompts(path).for_object(1).prompts
    assert prompt.points[:, 0].tolist() == [i % 50 for i in range(5000)]
    assert prompt.box is not None
    assert len(calls) == 4


def test_the_place_of_a_mark_that_does_not_go_with_earlier_ones(tmp_path: Path) -> None:
    marks = [
        {"frame": 0, "box": [1, 2, 60, 40]},
        {"frame": 0, "points": [[5, 5, 1]]},
        {"frame": 0, "points": [[6, 5, 1]]},
        {"frame": 0, "box": [1, 2, 60, 40]},
    ]
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"version": 1, "objects": [{"id": 1, "prompts": marks}]}))
    with pytest.raises(PromptError, match=r"prompts\[3\]: .*there is a box already"):
        load_prompts(path)
