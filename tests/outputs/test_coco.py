import json

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from surgsam2.errors import OutputError
from surgsam2.outputs import CocoWriter


def load(folder):
    return json.loads((folder / "annotations.coco.json").read_text(encoding="utf-8"))


def test_read_by_pycocotools(a_run, tmp_path):
    run = a_run(ids=(3, 300), names=("Gallenblase ü", 'a "b", c'))
    masks = run.masks()
    masks[1] = False
    writer = CocoWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result(4))
    writer.write(run.frame(), run.result(2, masks))
    writer.write(run.frame(), run.nothing(9))
    writer.close()
    writer.close()
    coco = COCO(str(tmp_path / "annotations.coco.json"))
    assert [(c["id"], c["name"]) for c in coco.loadCats(coco.getCatIds())] == [
        (3, "Gallenblase ü"),
        (300, 'a "b", c'),
    ]
    assert coco.getImgIds() == [5, 3, 10]
    image = coco.loadImgs([5])[0]
    assert image == {
        "id": 5,
        "file_name": "00004.png",
        "width": 64,
        "height": 48,
        "frame_index": 4,
    }
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[5]))
    for annotation, mask in zip(annotations, run.masks(), strict=True):
        assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
        assert isinstance(annotation["segmentation"]["counts"], str)
        assert annotation["segmentation"]["size"] == [48, 64]
        assert annotation["area"] == mask.sum() == rle.area(annotation["segmentation"])
    assert annotations[1]["bbox"] == [10, 5, 15, 20]
    assert annotations[1]["category_id"] == annotations[1]["track_id"] == 300
    assert annotations[0]["score"] == pytest.approx(0.9, abs=1e-6)
    assert annotations[1]["presence"] == 0.25
    assert annotations[0]["iscrowd"] == 0
    assert len(coco.getAnnIds(imgIds=[3])) == 1  # the empty mask has none
    assert coco.getAnnIds(imgIds=[10]) == []
    assert len({annotation["id"] for annotation in load(tmp_path)["annotations"]}) == 3


def test_a_run_without_frames_is_valid(a_run, tmp_path):
    CocoWriter(tmp_path, a_run().context).close()
    data = load(tmp_path)
    assert (data["images"], data["annotations"]) == ([], [])
    assert len(data["categories"]) == 2


def test_the_file_appears_when_it_is_complete(a_run, tmp_path):
    run = a_run()
    writer = CocoWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result())
    assert not (tmp_path / "annotations.coco.json").exists()
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["annotations.coco.json"]


def test_scores_that_are_not_numbers_become_null(a_run, tmp_path):
    run = a_run(ids=(1,))
    result = run.result()
    result.iou_scores[0] = np.nan
    writer = CocoWriter(tmp_path, run.context)
    writer.write(run.frame(), result)
    writer.close()
    assert load(tmp_path)["annotations"][0]["score"] is None


def test_a_full_disk(a_run, tmp_path, a_full_disk):
    run = a_run()
    (tmp_path / "annotations.coco.json").write_text("old")
    writer = CocoWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result())
    a_full_disk()
    with pytest.raises(OutputError, match=r"annotations\.coco\.json: No space left"):
        writer.close()
    writer.close()  # nothing more to do
    assert [path.name for path in tmp_path.iterdir()] == ["annotations.coco.json"]


def test_an_unwritable_folder(a_run, tmp_path):
    with pytest.raises(OutputError, match=r"annotations\.coco\.json"):
        CocoWriter(tmp_path / "none", a_run().context)


def test_two_objects_of_one_name_are_instances_of_one_category(a_run, tmp_path):
    run = a_run(ids=(2, 3, 9), names=("grasper", "liver", "Grasper"))
    writer = CocoWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result(0))
    writer.close()
    data = load(tmp_path)
    assert [(c["id"], c["name"]) for c in data["categories"]] == [(2, "grasper"), (3, "liver")]
    assert [(a["category_id"], a["track_id"]) for a in data["annotations"]] == [
        (2, 2),
        (3, 3),
        (2, 9),
    ]
    assert [(t["id"], t["instance"]) for t in data["tracks"]] == [(2, 1), (3, 1), (9, 2)]
