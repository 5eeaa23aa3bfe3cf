"""COCO files of strangers: masks as pycocotools reads them, and damage that is refused in words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as rle

from surgsam2.errors import InputError
from surgsam2.results.coco_file import CocoFile
from surgsam2.results.saved_masks import open_saved_masks

HEIGHT, WIDTH = 7, 9
SQUARE = [2.0, 1.0, 6.0, 1.0, 6.0, 5.0, 2.0, 5.0]


def content(segmentation: Any = None, **changes: Any) -> dict[str, Any]:
    """Return a file of one frame with one mask; `changes` are by ``image_key`` or ``mask_key``."""
    image = {"id": 1, "file_name": "00000.png", "frame_index": 0, "width": WIDTH, "height": HEIGHT}
    mask = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation or [SQUARE]}
    for name, value in changes.items():
        where, _, key = name.partition("_")
        {"image": image, "mask": mask}[where][key] = value
    return {"images": [image], "annotations": [mask], "categories": [{"id": 1, "name": "tool"}]}


def opened(folder: Path, data: Any) -> CocoFile:
    path = folder / "annotations.json"
    path.write_text(json.dumps(data))
    return CocoFile(path)


@given(arrays(np.uint8, (HEIGHT, WIDTH), elements=st.integers(0, 1)))
def test_run_lengths_are_pycocotools_own(
    tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray
) -> None:
    code = rle.encode(np.asfortranarray(mask))
    runs = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [2]])))
    plain = np.diff(np.concatenate([[0], runs])).tolist()
    for counts in (code["counts"].decode(), plain):
        data = content({"size": [HEIGHT, WIDTH], "counts": counts})
        read = opened(tmp_path_factory.mktemp("coco"), data).read(0)
        assert np.array_equal(read[1], mask.astype(bool))


def test_a_large_mask(tmp_path: Path) -> None:
    mask = np.zeros((720, 1280), np.uint8)
    mask[100:600, 200:900] = 1
    code = rle.encode(np.asfortranarray(mask))
    data = content(
        {"size": [720, 1280], "counts": code["counts"].decode()}, image_width=1280, image_height=720
    )
    assert np.array_equal(opened(tmp_path, data).read(0)[1], mask.astype(bool))


def test_polygons_are_pycocotools_own(tmp_path: Path) -> None:
    expected = rle.decode(rle.merge(rle.frPyObjects([SQUARE], HEIGHT, WIDTH)))
    assert np.array_equal(opened(tmp_path, content()).read(0)[1], expected.astype(bool))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (content(image_width=60_000, image_height=60_000), "no video has frames of 60000"),
        (content(image_width=2**32), "no video has frames"),
        (content(image_width=0), "no video has frames"),
        (content(image_width=-3), "no video has frames"),
        (content(image_width=9.5), "no video has frames"),
        (content(image_width=True), "no video has frames"),
        (content(image_frame_index=-1), "frame_index must be a whole number"),
        (content(image_frame_index=1.5), "frame_index must be a whole number"),
        (content(image_frame_index=10**12), "frame_index must be a whole number"),
        (content(mask_object_id=0), "object ids are whole numbers from 1"),
        (content(mask_object_id=1.5), "object ids are whole numbers from 1"),
        (content(mask_object_id=70_000), "object ids are whole numbers from 1"),
        (content(mask_image_id=[1]), "is not a COCO file of masks"),
        ({"images": [content()["images"][0]] * 2, "annotations": []}, "frame 0 has two images"),
        ({"images": 7}, "is not a COCO file of masks"),
        ([], "is not a COCO file of masks"),
        (None, "is not a COCO file of masks"),
    ],
)
def test_what_no_video_has_is_refused(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened(tmp_path, data)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1e8, 1e8, 1e8, 0, 0, 0]], "far outside the picture"),
        ([[float("nan"), 1, 2, 3, 4, 5]], "far outside the picture"),
        ([[float("inf"), 1, 2, 3, 4, 5]], "far outside the picture"),
        ([[1, 2, 3, 4, 5]], "a polygon is a list"),
        ([[1, 2]], "a polygon is a list"),
        ([["1", 2, 3, 4, 5, 6]], "far outside the picture"),
        ({"size": [HEIGHT, WIDTH], "counts": [3, 4]}, "its runs cover 7 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [-3, 66]}, "not a whole number of pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [63.0]}, "not a whole number of pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [2**70]}, "not a whole number of pixels"),
        ({"size": [60_000, 60_000], "counts": "0"}, "it is of size"),
        ({"size": [HEIGHT, WIDTH], "counts": "oooo"}, "in the middle of a number"),
        ({"size": [HEIGHT, WIDTH], "counts": "o" * 40}, "compressed form"),
        ({"size": [HEIGHT, WIDTH], "counts": "é"}, "compressed form"),
        ({"size": [HEIGHT, WIDTH], "counts": 5}, "is damaged"),
        ({"size": 5, "counts": "0"}, "is damaged"),
        ({"counts": "0"}, "is damaged"),
        ("text", "is damaged"),
    ],
)
def test_damaged_masks_are_refused(tmp_path: Path, segmentation: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened(tmp_path, content(segmentation)).read(0)


def test_masks_of_another_size_than_the_video_are_refused_undecoded(tmp_path: Path) -> None:
    file = opened(tmp_path, content([["not decoded"]]))
    with pytest.raises(InputError, match="the masks have 9 x 7 pixels, the video 10 x 10"):
        file.check(10, 10, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=5), v, max_size=4),
    max_leaves=8,
)
KEYS = ("image_id", "image_width", "image_height", "image_frame_index", "mask_image_id",
        "mask_category_id", "mask_object_id", "mask_segmentation", "mask_track_id")  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1, max_size=3))
def test_any_value_is_refused_in_words_or_is_a_mask(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]
) -> None:
    try:
        file = opened(tmp_path_factory.mktemp("any"), content(**changes))
        masks = [mask for frame in file.frames for mask in file.read(frame).values()]
    except InputError:
        return
    assert all(mask.dtype == bool for mask in masks)


def test_a_hostile_file_does_not_end_the_interpreter(tmp_path: Path) -> None:
    """The coordinates made pycocotools write outside its memory."""
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content([[0, 0, 1e8, 1e8, -1e8, 1e8]])))
    code = (
        "import sys; from surgsam2.results.saved_masks import open_saved_masks\n"
        "from surgsam2.errors import InputError\n"
        "try: open_saved_masks(sys.argv[1]).read(0)\n"
        "except InputError: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "refused\n")


def test_the_format_is_found_by_the_path(tmp_path: Path) -> None:
    opened(tmp_path, content())
    assert isinstance(open_saved_masks(tmp_path / "annotations.json"), CocoFile)
