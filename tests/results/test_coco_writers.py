"""COCO files as CVAT, Label Studio, Roboflow, FiftyOne and supervision write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgsam2.errors import InputError
from surgsam2.results.saved_masks import open_saved_masks

HEIGHT, WIDTH = 20, 30


def square(x: int) -> list[list[float]]:
    return [[x, 2.0, x + 4, 2.0, x + 4, 8.0, x, 8.0]]


def a_file(
    folder: Path,
    names: list[str],
    masks: list[tuple[int, int, dict[str, Any]]],
    *,
    categories: tuple[int, ...] = (1, 2),
    first_id: int = 1,
    **more: Any,
) -> Path:
    """Write a file; `masks` are the number of the image, the category, and further keys."""
    data = {
        "images": [
            {"id": first_id + i, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for i, name in enumerate(names)
        ],
        "categories": [{"id": i, "name": f"kind {i}"} for i in categories],
        "annotations": [
            {
                "id": number,
                "image_id": first_id + image,
                "category_id": category,
                "segmentation": square(3 * number),
                **keys,
            }
            for number, (image, category, keys) in enumerate(masks)
        ],
        **more,
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(data))
    return path


def cvat(track: int) -> dict[str, Any]:
    return {"attributes": {"occluded": False, "track_id": track, "keyframe": True}}


def test_two_tracks_of_one_category_in_a_file_of_cvat(tmp_path: Path) -> None:
    names = ["frame_000000.PNG", "frame_000001.PNG"]
    masks = [(0, 1, cvat(0)), (0, 1, cvat(1)), (1, 1, cvat(0)), (1, 2, cvat(4))]
    saved = open_saved_masks(a_file(tmp_path, names, masks))
    assert saved.frames == (0, 1)
    assert [sorted(saved.read(frame)) for frame in saved.frames] == [[1, 2], [1, 5]]
    assert saved.name(2) == "kind 1"
    assert saved.assumed == (
        "the number in 'frame_000000' is taken as frame 0, counted from 0 (a file of CVAT)",
        "objects are told apart by track_id (a file of CVAT)",
        "object 0 of the file is object 1 here",
    )


def test_the_names_of_label_studio(tmp_path: Path) -> None:
    names = ["images\\/1a2b3c99-frame_0007.jpg", "images/00000009-frame_0008.jpg"]
    masks = [(0, 0, {}), (1, 1, {})]
    path = a_file(
        tmp_path, names, masks, categories=(0, 1), first_id=0, info={"contributor": "Label Studio"}
    )
    saved = open_saved_masks(path)
    assert saved.frames == (7, 8)
    assert [sorted(saved.read(frame)) for frame in saved.frames] == [[1], [2]]
    assert saved.name(1) == "kind 0"
    assert any("each category is one object" in sentence for sentence in saved.assumed)


def test_the_names_of_roboflow(tmp_path: Path) -> None:
    hashes = "0a1b2c3d4e5f60718293a4b5c6d7e899", "7777777777777777777777777777777a"
    names = [f"clip_{n:04d}_png.rf.{text}.jpg" for n, text in zip((3, 4), hashes, strict=True)]
    info = {"description": "Exported from roboflow.com"}
    saved = open_saved_masks(a_file(tmp_path, names, [(0, 1, {}), (1, 1, {})], info=info))
    assert saved.frames == (3, 4)


def test_the_objects_of_fiftyone(tmp_path: Path) -> None:
    info = {"description": "Exported from FiftyOne", "url": "https://voxel51.com/fiftyone"}
    masks = [(0, 0, {"index": 1}), (0, 1, {"index": 1}), (0, 0, {"index": 2})]
    path = a_file(tmp_path, ["000005.jpg"], masks, categories=(0, 1), info=info)
    saved = open_saved_masks(path)
    assert sorted(saved.read(5)) == [1, 2, 3]
    assert [saved.name(i) for i in (1, 2, 3)] == ["kind 0", "kind 1", "kind 0"]
    assert "objects are numbered: 0 1 is 1, 1 1 is 2, 0 2 is 3" in saved.assumed


def test_categories_from_0_of_supervision(tmp_path: Path) -> None:
    path = a_file(tmp_path, ["00000.png"], [(0, 0, {}), (0, 1, {})], categories=(0, 1))
    data = json.loads(path.read_text())
    for category in data["categories"]:
        category["supercategory"] = "common-objects"
    path.write_text(json.dumps(data))
    saved = open_saved_masks(path)
    assert sorted(saved.read(0)) == [1, 2]
    assert "(a file of supervision)" in saved.assumed[0]


def test_an_object_has_one_id_whether_category_0_occurs_or_not(tmp_path: Path) -> None:
    path = a_file(tmp_path, ["00000.png"], [(0, 1, {})], categories=(0, 1))
    saved = open_saved_masks(path)
    assert list(saved.read(0)) == [2]
    assert saved.name(2) == "kind 1"
    info = {"description": "Exported from roboflow.com"}
    path = a_file(tmp_path, ["a_0000_png.rf.7.jpg"], [(0, 1, {})], categories=(0, 1), info=info)
    assert list(open_saved_masks(path).read(0)) == [1]


def test_several_masks_of_a_category_without_tracks_are_a_question(tmp_path: Path) -> None:
    path = a_file(tmp_path, ["00000.png", "00001.png"], [(0, 1, {}), (1, 1, {}), (1, 1, {})])
    with pytest.raises(InputError, match="frame 1: there are several masks of the category 'kind"):
        open_saved_masks(path)
    saved = open_saved_masks(path, merge=True)
    assert list(saved.read(1)) == [1]
    assert np.count_nonzero(saved.read(1)[1]) > np.count_nonzero(saved.read(0)[1])
    assert "parts of one object" in saved.assumed[1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a_0000.png", "b_0001.png"], "differ in more than their last number"),
        (["f3a91c.jpg", "f3b27c.jpg"], "differ in more than their last number"),
        (["one.png", "two.png"], "has no frame number"),
        (["9" * 30 + ".png", "1.png"], "does not end in a frame number"),
    ],
)
def test_names_that_do_not_tell_frames(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_saved_masks(a_file(tmp_path, names, []))


def test_masks_with_and_without_a_track(tmp_path: Path) -> None:
    path = a_file(tmp_path, ["0.png"], [(0, 1, {"track_id": 1}), (0, 1, {})])
    with pytest.raises(InputError, match="1 of 2 masks have no track_id"):
        open_saved_masks(path)


def test_tracks_that_are_text(tmp_path: Path) -> None:
    masks = [(0, 1, {"track_id": "left"}), (0, 1, {"track_id": "right"})]
    saved = open_saved_masks(a_file(tmp_path, ["0.png"], masks))
    assert sorted(saved.read(0)) == [1, 2]
    assert saved.assumed[-1] == "objects are numbered: left is 1, right is 2"
