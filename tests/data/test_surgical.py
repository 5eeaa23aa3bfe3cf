"""Public datasets in the layouts in which they are published, as small made-up trees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from surgsam2.data import LAYOUTS, SurgicalDataset
from surgsam2.data.surgical import CHOLECSEG8K_CLASSES
from surgsam2.errors import DatasetError
from surgsam2.evaluation.runner import evaluate, evaluate_predictions
from surgsam2.evaluation.truth.datasets import open_truth
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.evaluation.truth.protocols import PROTOCOL_NAMES, get_protocol
from surgsam2.prompts import load_class_list
from surgsam2.training.batches import open_source
from surgsam2.training.config import SourceConfig, SourceKind

from .conftest import SHAPE, box_labels, save_frame, save_labels


def colours(labels: np.ndarray) -> Image.Image:
    table = np.zeros((256, 3), np.uint8)
    for number, (_, rgb) in CHOLECSEG8K_CLASSES.items():
        table[number] = rgb
    return Image.fromarray(table[labels])


def cholecseg8k(root: Path) -> None:
    for clip in ("video01/video01_00080", "video12/video12_15750"):
        for index in (9, 10, 80):
            labels = box_labels(5, 10) + np.uint16(1)
            labels[labels == 6] = 5
            labels[labels == 11] = 10
            image = save_frame(root / clip / f"frame_{index}_endo.png", index)
            picture = np.array(colours(labels))
            picture[0, :5] = 255  # the white edges of some regions
            stem = image.stem
            Image.fromarray(picture).save(image.with_name(f"{stem}_color_mask.png"))
            for kind in ("mask", "watershed_mask"):
                Image.fromarray(picture).save(image.with_name(f"{stem}_{kind}.png"))


def dsad(root: Path) -> None:
    for folder, count in (("liver/03", 3), ("ureter/11", 2), ("multilabel/04", 1)):
        for index in range(count):
            save_frame(root / folder / f"image{index:02d}.png", index)
            mask = (box_labels(1) > 0).astype(np.uint8) * 255
            Image.fromarray(mask).save(root / folder / f"mask{index:02d}.png")


def robust_mis(root: Path) -> None:
    for frame, ids in (("Prokto1/1280", (50, 100)), ("Prokto1/2560", (50,)), ("Rektum2/10", ())):
        folder = root / "Training" / "Proctocolectomy" / frame
        save_frame(folder / "raw.png", len(ids))
        if ids:
            save_labels(folder / "instrument_instances.png", box_labels(*ids), "L")


def sar_rarp50(root: Path) -> None:
    for index in (0, 60, 120):
        save_frame(root / "video_1" / "rgb" / f"{index:09d}.png", index)
        labels = box_labels(1, 5) if index else box_labels(1)
        save_labels(root / "video_1" / "segmentation" / f"{index:09d}.png", labels, "L")


def endoscapes(root: Path) -> None:
    for split, name in (("train", "12_24500"), ("val_seg", "12_24525"), ("test", "140_75")):
        save_frame(root / split / f"{name}.jpg", len(name))
        save_labels(root / "semseg" / f"{name}.png", box_labels(5, 6), "L")
    save_frame(root / "train" / "12_99999.jpg")
    (root / "insseg").mkdir()


MAKERS = {
    "cholecseg8k": cholecseg8k,
    "dsad": dsad,
    "robust-mis": robust_mis,
    "sar-rarp50": sar_rarp50,
    "endoscapes": endoscapes,
}


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (
            "cholecseg8k",
            {
                "video01/video01_00080": (
                    3,
                    {1: "Abdominal Wall", 5: "Grasper", 10: "Gallbladder"},
                ),
                "video12/video12_15750": (
                    3,
                    {1: "Abdominal Wall", 5: "Grasper", 10: "Gallbladder"},
                ),
            },
        ),
        ("dsad", {"liver/03": (3, {5: "liver"}), "ureter/11": (2, {10: "ureter"})}),
        (
            "robust-mis",
            {
                "Training/Proctocolectomy/Prokto1/1280": (1, {50: "object 50", 100: "object 100"}),
                "Training/Proctocolectomy/Prokto1/2560": (1, {50: "object 50"}),
            },
        ),
        ("sar-rarp50", {"video_1": (3, {1: "tool clasper", 5: "thread"})}),
        (
            "endoscapes",
            {"12": (2, {5: "gallbladder", 6: "tool"}), "140": (1, {5: "gallbladder", 6: "tool"})},
        ),
    ],
)
def test_each_layout(tmp_path: Path, layout: str, expected: dict) -> None:
    MAKERS[layout](tmp_path)
    dataset = SurgicalDataset(tmp_path, layout)
    assert {s.name: (len(s), s.object_names) for s in dataset} == expected
    first = dataset[0]
    labels = first.read_labels(0)
    assert labels is not None
    assert labels.shape == SHAPE
    assert set(np.unique(labels)) - {0} <= set(first.object_ids)
    assert first.annotated == tuple(range(len(first)))
    source = open_source(SourceConfig(kind=layout, path=str(tmp_path)))  # type: ignore[arg-type]
    assert [s.name for s in source] == list(expected)
    truth = open_truth(tmp_path, get_protocol(layout), Problems())
    assert [s.name for s in truth.sequences] == list(expected)


def test_the_order_and_the_pixels_of_cholecseg8k(tmp_path: Path) -> None:
    cholecseg8k(tmp_path)
    sequence = SurgicalDataset(tmp_path / "video01", "cholecseg8k")[0]
    assert [p.name for p in sequence.frame_paths] == [  # type: ignore[attr-defined]
        "frame_9_endo.png", "frame_10_endo.png", "frame_80_endo.png",
    ]  # fmt: skip
    labels = sequence.read_labels(2)
    assert labels is not None
    assert (labels[4:10, 9:15] == 10).all()
    assert (labels[0, :5] == 0).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_of_another_layout_is_refused(tmp_path: Path, layout: str) -> None:
    save_frame(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"is not in the layout of .* expected files such as"):
        SurgicalDataset(tmp_path, layout)
    with pytest.raises(DatasetError, match="is not a folder"):
        SurgicalDataset(tmp_path / "none", layout)


def test_frames_that_are_not_extracted_yet(tmp_path: Path) -> None:
    save_labels(tmp_path / "video_1" / "segmentation" / "000000000.png", box_labels(1), "L")
    with pytest.raises(DatasetError, match=r"extract them from video_left\.avi .*rarptk unpack"):
        SurgicalDataset(tmp_path, "sar-rarp50")


def test_what_cannot_be_used_is_left_out_and_named(tmp_path: Path) -> None:
    dsad(tmp_path)
    (tmp_path / "liver/03/mask01.png").write_bytes(b"nothing")
    (tmp_path / "liver/03/image02.png").write_bytes(b"nothing")
    dataset = SurgicalDataset(tmp_path, "dsad")
    assert dataset.skipped.counts == {
        "unreadable annotation": 1,
        "unreadable image": 1,
    }
    assert dataset[0].annotated == (0,)


def test_all_layouts_are_protocols_and_kinds_of_data() -> None:
    assert set(LAYOUTS) <= set(PROTOCOL_NAMES)
    assert set(LAYOUTS) <= set(get_args(SourceKind))
    listed = {item.id: item.name for item in load_class_list("cholecseg8k")}
    assert listed == LAYOUTS["cholecseg8k"].class_names


def test_an_evaluation_by_a_baseline(tmp_path: Path) -> None:
    sar_rarp50(tmp_path / "data")
    results = evaluate(
        tmp_path / "data", protocol="sar-rarp50", models=(), baselines=("copy",), prompts=()
    )
    assert json.dumps(results, default=str)
    run = results["runs"][0]
    assert run["class_iou"]["challenge_iou"] == 1


def test_predictions_for_a_published_layout(tmp_path: Path) -> None:
    sar_rarp50(tmp_path / "data")
    truth = tmp_path / "data" / "video_1" / "segmentation"
    results = evaluate_predictions([str(truth)], str(tmp_path / "data"), protocol="sar-rarp50")
    assert results["runs"][0]["overall"]["all"]["J&F"] == 1
