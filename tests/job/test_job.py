"""The main job: a folder that is right, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import os
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

import surgsam2
from surgsam2 import PromptSet, open_video, segment_video
from surgsam2.errors import DeviceError, InputError, OutputError, PromptError, VideoError
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import LabelPngWriter, OverlayWriter
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.hashing import sha256_of
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.tracker import Tracker
from tests.conftest import REPOSITORY, disc, moving_picture
from tests.video.helpers import write_video

WIDTH, HEIGHT, FRAMES = 160, 120, 10
REAL = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="module")
def a_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mp4 of `moving_picture`."""
    pictures = moving_picture(FRAMES)
    return write_video(
        tmp_path_factory.mktemp("job") / "clip.mp4",
        FRAMES,
        size=(WIDTH, HEIGHT),
        frame=lambda i: av.VideoFrame.from_ndarray(pictures[i], format="rgb24"),
    )


@pytest.fixture
def prompts() -> PromptSet:
    """Object 1 on frame 0, object 300 on frame 4."""
    both = PromptSet().add(
        object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 20), name="gallbladder"
    )
    return both.add(object_id=300, frame=4, mask=disc(WIDTH, HEIGHT, 80, 60, 20))


def run(model: SurgSAM2Model, file: Path, prompts: PromptSet, out: Path, **options: object) -> dict:
    with open_video(file) as video:
        return segment_to_folder(model, video, prompts, out, JobOptions.from_mapping(options))


def fail_at(monkeypatch: pytest.MonkeyPatch, index: int, error: BaseException) -> None:
    """Make the tracker raise `error` when it comes to frame `index`."""
    advance = Tracker.advance

    def until_then(self: Tracker, *arguments: Any) -> object:
        if self.frame_index == index:
            raise error
        return advance(self, *arguments)

    monkeypatch.setattr(Tracker, "advance", until_then)


def labels(out: Path, index: int) -> np.ndarray:
    return np.array(Image.open(out / "masks" / f"{index:05d}.png"))


def test_writes_what_the_tracker_found(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    report = run(a_model, a_file, prompts, tmp_path / "out")
    assert report["status"] == "complete"
    results = segment_video(a_model, a_file, prompts, allow_overlap=False)
    for result in results:
        written = labels(tmp_path / "out", result.frame_index)
        for object_id in result.object_ids:
            assert np.array_equal(written == object_id, result.mask(object_id))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"masks", "overlay.mp4", "annotations.coco.json", "frames.csv", "report.json"}
    assert "INCOMPLETE" not in names


def test_the_report_tells_how_it_was_done(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    returned = run(a_model, a_file, prompts, tmp_path / "out", direction="forward")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["status"] == returned["status"] == "complete"
    assert report["model"]["checkpoint_sha256"] == sha256_of(a_model.checkpoint)
    assert report["model"]["pruning"] == {"form": "capped", "prune": 2}
    assert report["video"]["sha256"] == sha256_of(a_file)
    assert report["video"]["name"] is None
    assert "clip" not in json.dumps(report)
    assert report["frame_range"] == [0, FRAMES]
    assert report["timings"]["frames"] == FRAMES
    assert report["versions"]["surgsam2"] == surgsam2.__version__
    assert report["skipped"] == ["object 300: no masks before frame 4, its first prompt"]


def test_formats_are_a_tuple() -> None:
    with pytest.raises(InputError, match=r"formats must be a tuple such as .*, got 'png'"):
        JobOptions(formats="png")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("direction", "missing"),
    [
        ("forward", "frames 0 to 4: before the first prompt; direction both tracks them"),
        ("backward", "frames 6 to 9: after the last prompt; direction both tracks them"),
    ],
)
def test_the_report_names_frames_that_no_prompt_reaches(
    a_model: SurgSAM2Model, a_file: Path, tmp_path: Path, direction: str, missing: str
) -> None:
    late = PromptSet().add(object_id=1, frame=5, mask=disc(WIDTH, HEIGHT, 60, 60, 20))
    assert run(a_model, a_file, late, tmp_path / "out", direction=direction)["skipped"] == [missing]
    # a range that was asked for is no news
    chosen = run(a_model, a_file, late, tmp_path / "chosen", direction=direction, start=5, stop=6)
    assert chosen["skipped"] == []


def test_a_mask_too_small_for_the_network_costs_no_earlier_result(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    run(a_model, a_file, prompts, tmp_path / "out", stop=2)
    before = sha256_of(tmp_path / "out" / "masks" / "00001.png")
    large = write_video(tmp_path / "large.mp4", 2, size=(1280, 960))
    tiny = PromptSet().add(object_id=1, frame=1, mask=disc(1280, 960, 500, 500, 1))
    with pytest.raises(PromptError, match="object 1, frame 1: the mask vanishes"):
        run(a_model, large, tiny, tmp_path / "out")
    assert sha256_of(tmp_path / "out" / "masks" / "00001.png") == before


def test_two_runs_write_the_same_bytes(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        run(a_model, a_file, prompts, tmp_path / name, formats=("png", "coco", "overlay"))
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(files) > FRAMES
    for file in files:
        if not file.name.startswith(("report.json", ".results")):  # these have timings
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_the_overlay_is_ascending_whatever_the_direction(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path, direction: str
) -> None:
    run(a_model, a_file, prompts, tmp_path / "out", direction=direction)
    count = {"forward": 10, "backward": 5, "both": 10}[direction]
    assert len(list((tmp_path / "out" / "masks").iterdir())) == count
    with av.open(tmp_path / "out" / "overlay.mp4") as overlay:
        shown = [frame.to_ndarray(format="rgb24") for frame in overlay.decode(video=0)]
    assert len(shown) == count
    original = list(open_video(a_file))
    # the corner that no mask or text covers tells which frame it is
    for index, frame in enumerate(shown):
        nearest = np.argmin([np.abs(frame[:20, :20].astype(int) - o[:20, :20]).mean()
                             for o in original])  # fmt: skip
        covered = (labels(tmp_path / "out", index)[:20, :20] > 0).any()
        assert covered or nearest == index


def test_a_backward_run_stores_masks_of_the_right_frames(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    run(a_model, a_file, prompts, tmp_path / "out", direction="backward")
    for result in segment_video(
        a_model, a_file, prompts, None, None, "backward", allow_overlap=False
    ):
        expected = np.zeros((HEIGHT, WIDTH), np.uint16)
        for object_id in result.object_ids:
            expected[result.mask(object_id)] = object_id
        assert np.array_equal(labels(tmp_path / "out", result.frame_index), expected)


def test_overlapping_masks_are_kept_when_allowed(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    areas = {}
    for allowed in (False, True):
        out = tmp_path / str(allowed)
        run(a_model, a_file, prompts, out, allow_overlap=allowed, formats=("csv",))
        with (out / "frames.csv").open(newline="") as file:
            areas[allowed] = sum(int(row["area"]) for row in csv.DictReader(file))
    assert areas[True] > areas[False]


def test_stopping_leaves_valid_files(
    a_model: SurgSAM2Model,
    a_file: Path,
    prompts: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_at(monkeypatch, 6, KeyboardInterrupt())
    report = run(a_model, a_file, prompts, tmp_path / "out")
    assert report["status"] == "interrupted"
    assert "4 of 10 frames were not segmented" in report["skipped"]
    assert (tmp_path / "out" / "INCOMPLETE").exists()
    assert len(list((tmp_path / "out" / "masks").glob("*.png"))) == 6
    assert len(json.loads((tmp_path / "out" / "annotations.coco.json").read_text())["images"]) == 6
    with av.open(tmp_path / "out" / "overlay.mp4") as overlay:
        assert sum(1 for _ in overlay.decode(video=0)) == 6


def test_a_failure_on_the_way_is_reported_and_raised(
    a_model: SurgSAM2Model,
    a_file: Path,
    prompts: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_at(monkeypatch, 3, VideoError("clip.mp4: the disk went away"))
    before = set(threading.enumerate())
    with pytest.raises(VideoError, match="the disk went away"):
        run(a_model, a_file, prompts, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["status"] == "failed: the video: the disk went away"
    assert (tmp_path / "out" / "INCOMPLETE").exists()
    assert len(list((tmp_path / "out" / "masks").glob("*.png"))) == 3
    assert set(threading.enumerate()) == before


def test_a_truncated_video_gives_what_decodes(
    a_model: SurgSAM2Model, prompts: PromptSet, tmp_path: Path
) -> None:
    pictures = moving_picture(40)
    whole = write_video(
        tmp_path / "whole.mkv",
        40,
        size=(WIDTH, HEIGHT),
        frame=lambda i: av.VideoFrame.from_ndarray(pictures[i], format="rgb24"),
    )
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.7)])
    report = run(a_model, cut, prompts, tmp_path / "out", formats=("png",))
    written = len(list((tmp_path / "out" / "masks").glob("*.png")))
    assert report["status"] == "complete"
    assert 10 < written < 40
    assert written == report["timings"]["frames"]
    assert any("damaged" in note for note in report["skipped"])


def test_a_folder_of_images_has_a_hash_too(
    a_model: SurgSAM2Model, prompts: PromptSet, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    for index, frame in enumerate(moving_picture(5)):
        Image.fromarray(frame).save(tmp_path / "images" / f"{index}.png")
    first = run(a_model, tmp_path / "images", prompts, tmp_path / "a", formats=("png",))
    Image.fromarray(frame[::-1]).save(tmp_path / "images" / "4.png")
    second = run(a_model, tmp_path / "images", prompts, tmp_path / "b", formats=("png",))
    assert len(first["video"]["sha256"]) == 64
    assert first["video"]["sha256"] != second["video"]["sha256"]


def test_refuses_before_it_touches_the_folder(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"png, overlay, coco, csv, scene, .*got 'gif'"):
        JobOptions(formats=("gif",))
    with pytest.raises(InputError, match="min_region"):
        run(a_model, a_file, prompts, tmp_path / "out", min_region=-2)
    prompts.add(object_id=9, frame=FRAMES, points=[[1, 1, 1]])
    with pytest.raises(PromptError, match="object 9"):
        run(a_model, a_file, prompts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refuses_a_folder_that_holds_something_else(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not empty"):
        run(a_model, a_file, prompts, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_inputs_in_the_output_folder_are_never_removed(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(a_model, a_file, prompts, out)
    overlay = (out / "overlay.mp4").read_bytes()
    with pytest.raises(OutputError, match=r"overlay\.mp4 is an input of this run"):
        run(a_model, out / "overlay.mp4", prompts, out)
    assert (out / "overlay.mp4").read_bytes() == overlay

    (tmp_path / "prompts.json").write_text(
        '{"version": 1, "objects": [{"id": 1, "prompts": '
        '[{"frame": 2, "mask": "out/masks/00002.png"}]}]}'
    )
    again = surgsam2.load_prompts(tmp_path / "prompts.json")
    with pytest.raises(OutputError, match=r"00002\.png is an input of this run"):
        run(a_model, a_file, again, out)
    assert (out / "masks" / "00002.png").exists()


def test_asked_to_stop(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    """Between frames, also in the first pass of `both`; nothing is cut in the middle."""
    for direction, asked, masks in (("forward", 4, 4), ("backward", 3, 3), ("both", 2, 0)):
        steps: list[int] = []
        with open_video(a_file) as video:
            report = segment_to_folder(
                a_model,
                video,
                prompts,
                tmp_path / direction,
                JobOptions(tracking=TrackingOptions(direction=direction)),
                progress=lambda done, total, seconds, steps=steps: steps.append(done),
                should_stop=lambda steps=steps, asked=asked: len(steps) >= asked,
            )
        out = tmp_path / direction
        assert report["status"] == "interrupted"
        assert (out / "INCOMPLETE").exists()
        assert len(list((out / "masks").iterdir())) == masks
        assert len(json.loads((out / "annotations.coco.json").read_text())["images"]) == masks
        if masks:
            with av.open(out / "overlay.mp4") as overlay:
                assert sum(1 for _ in overlay.decode(video=0)) == masks


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_full_disk_ends_the_run_with_the_first_error(
    a_model: SurgSAM2Model,
    a_file: Path,
    prompts: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    direction: str,
) -> None:
    drawn = []
    monkeypatch.setattr(
        OverlayWriter, "_write", lambda self, frame, result: drawn.append(result.frame_index)
    )
    write = LabelPngWriter._write

    def full(self: LabelPngWriter, frame: np.ndarray, result: FrameResult) -> None:
        if result.frame_index == 3:
            raise OutputError("cannot write 00003.png: No space left on device")
        write(self, frame, result)

    monkeypatch.setattr(LabelPngWriter, "_write", full)
    with pytest.raises(OutputError, match="No space left"):
        run(a_model, a_file, prompts, tmp_path / "out", direction=direction)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "No space left" in report["status"]
    assert (drawn == []) == (direction == "backward")


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), DeviceError, "out of memory on cpu after 2"),
        (RuntimeError("surprise"), RuntimeError, "surprise"),
    ],
)
def test_any_failure_leaves_a_report(
    a_model: SurgSAM2Model,
    a_file: Path,
    prompts: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    raised: type[Exception],
    text: str,
) -> None:
    fail_at(monkeypatch, 2, error)
    with pytest.raises(raised, match=text):
        run(a_model, a_file, prompts, tmp_path / "out")
    assert "failed" in json.loads((tmp_path / "out" / "report.json").read_text())["status"]


def test_a_file_name_that_is_no_text(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    try:
        odd.write_bytes(a_file.read_bytes())
    except OSError:
        pytest.skip("this file system takes only names that are text")
    run(a_model, odd, prompts, tmp_path / "out", stop=2, keep_names=True)
    assert "caf" in json.loads((tmp_path / "out" / "report.json").read_text())["video"]["name"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real clip lies outside the project")
def test_the_real_clip(a_model: SurgSAM2Model, tmp_path: Path) -> None:
    prompts = surgsam2.load_prompts(REAL / "cholecystectomy_prompts.json")
    report = run(a_model, REAL / "cholecystectomy_10s.mp4", prompts, tmp_path / "out", stop=12)
    assert report["timings"]["frames"] == 12
    assert labels(tmp_path / "out", 11).shape == (720, 1280)


def test_a_stride_keeps_the_numbers_and_times_of_frames(
    a_model: SurgSAM2Model, a_file: Path, tmp_path: Path
) -> None:
    prompts = PromptSet().add(object_id=1, frame=4, mask=disc(WIDTH, HEIGHT, 60, 60, 20))
    out = tmp_path / "out"
    report = run(a_model, a_file, prompts, out, stride=2, direction="both", stop=9)
    assert report["frame_range"] == [0, 9 + 1]
    assert report["objects"][0]["prompted_frames"] == [4]
    assert report["video"]["frames"] == FRAMES
    names = [f"{index:05d}.png" for index in (0, 2, 4, 6, 8)]
    assert sorted(path.name for path in (out / "masks").iterdir()) == names
    images = json.loads((out / "annotations.coco.json").read_text())["images"]
    assert [image["frame_index"] for image in images] == [0, 2, 4, 6, 8]
    with (out / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    with open_video(a_file) as video, open_video(out / "overlay.mp4") as overlay:
        times = video.timestamps
        assert np.allclose([float(r["seconds"]) for r in rows], times[[0, 2, 4, 6, 8]], atol=1e-3)
        assert np.allclose(overlay.timestamps, times[:9:2], atol=0.01)
    again = run(a_model, a_file, prompts, out, stride=2, direction="both", stop=9, resume=True)
    assert again["already_complete"]


def test_a_stride_that_leaves_out_a_prompted_frame(
    a_model: SurgSAM2Model, a_file: Path, prompts: PromptSet, tmp_path: Path
) -> None:
    with pytest.raises(PromptError, match="stride of 3 leaves out; prompt on frame 3 or 6"):
        run(a_model, a_file, prompts, tmp_path / "out", stride=3)


def test_classes_of_a_list(a_model: SurgSAM2Model, a_file: Path, tmp_path: Path) -> None:
    prompts = PromptSet()
    for object_id, name in ((1, "Gallbladder"), (2, "grasper 1"), (7, "grasper 2")):
        mask = disc(WIDTH, HEIGHT, 20 * object_id, 60, 8)
        prompts.add(object_id=object_id, frame=0, mask=mask, name=name)
    options = {"classes": "cholecseg8k", "formats": "coco", "stop": 1}
    run(a_model, a_file, prompts, tmp_path / "out", **options)
    data = json.loads((tmp_path / "out" / "annotations.coco.json").read_text())
    assert {t["id"]: t["category_id"] for t in data["tracks"]} == {1: 10, 2: 5, 7: 5}
    prompts.add(object_id=3, frame=0, points=[[5, 5, 1]], name="drain")
    with pytest.raises(PromptError, match="has no class of this name; rename it to one of"):
        run(a_model, a_file, prompts, tmp_path / "other", **options)
