"""EndoVis 2017 and 2018: both layouts of each, on folders of a few tiny files."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgsam2.data import EndoVis17, EndoVis18
from surgsam2.data.endovis import ENDOVIS18_CLASSES, instrument_type
from surgsam2.errors import DatasetError

from .conftest import SHAPE, VOSFolder, box_labels, save_frame, save_labels


def save_mask17(folder: Path, index: int, columns: slice, rgb: bool = False) -> None:
    """An instrument's mask: shaft (10), wrist (20) and claspers (30) below each other."""
    mask = np.zeros(SHAPE, np.uint8)
    for row, value in ((2, 10), (6, 20), (10, 30)):
        mask[row : row + 4, columns] = value
    folder.mkdir(parents=True, exist_ok=True)
    image = np.repeat(mask[..., None], 3, axis=2) if rgb else mask
    Image.fromarray(image).save(folder / f"frame{index:03d}.png")


@pytest.fixture
def a_2017_release(tmp_path: Path) -> Path:
    for number, rgb in ((1, False), (7, True)):
        root = tmp_path / "instrument_1_4_training" / f"instrument_dataset_{number}"
        for index in range(3):
            save_frame(root / "left_frames" / f"frame{index:03d}.png", index)
            truth = root / "ground_truth"
            save_mask17(truth / "Left_Prograsp_Forceps_labels", index, slice(2, 8), rgb)
            save_mask17(truth / "Maryland_Bipolar_Forceps_labels", index, slice(12, 18), rgb)
            save_mask17(truth / "Other_labels", index, slice(16, 24), rgb)
    return tmp_path


def test_2017_raw(a_2017_release: Path) -> None:
    dataset = EndoVis17(a_2017_release)
    assert [s.name for s in dataset] == [
        "instrument_1_4_training/instrument_dataset_1",
        "instrument_1_4_training/instrument_dataset_7",
    ]
    for sequence in dataset:
        assert sequence.object_ids == (1, 2, 3)
        assert sequence.object_names == {
            1: "Left Prograsp Forceps",
            2: "Maryland Bipolar Forceps",
            3: "Other",
        }
        labels = sequence.read_labels(1)
        assert labels is not None
        assert labels.dtype == np.uint16
        assert np.all(labels[2:14, 2:8] == 1), "all parts belong to the instrument"
        assert np.all(labels[2:14, 12:16] == 2)
        assert np.all(labels[2:14, 16:24] == 3), "the higher id stays on top"
        assert sequence.read_frame(1).shape == (*SHAPE, 3)


def test_2017_without_other_instruments(a_2017_release: Path) -> None:
    sequence = EndoVis17(a_2017_release, include_other=False)[0]
    assert sequence.object_ids == (1, 2)
    labels = sequence.read_labels(0)
    assert labels is not None
    assert np.all(labels[2:14, 12:18] == 2)


@pytest.mark.parametrize(
    ("folder", "number"),
    [
        ("Maryland_Bipolar_Forceps_labels", 1),
        ("Right_Prograsp_Forceps_labels", 2),
        ("Large_Needle_Driver_Left_labels", 3),
        ("Right_Vessel_Sealer", 4),
        ("Grasping_Retractor_labels", 5),
        ("Monopolar_Curved_Scissors_labels", 6),
        ("Other_labels", 7),
    ],
)
def test_2017_types(folder: str, number: int) -> None:
    assert instrument_type(folder) == number


def test_2017_left_frame_folder_and_one_dataset_alone(tmp_path: Path) -> None:
    save_frame(tmp_path / "left_frame" / "frame000.png")
    save_mask17(tmp_path / "ground_truth" / "Vessel_Sealer_labels", 0, slice(2, 8))
    (sequence,) = EndoVis17(tmp_path)
    assert sequence.name == tmp_path.name
    assert sequence.object_names == {1: "Vessel Sealer"}


def test_2017_bad_files(a_2017_release: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = a_2017_release / "instrument_1_4_training" / "instrument_dataset_1"
    truth = root / "ground_truth" / "Left_Prograsp_Forceps_labels"
    save_mask17(truth, 9, slice(2, 8))
    Image.fromarray(np.ones((5, 5), np.uint8)).save(truth / "frame000.png")
    (truth / "frame001.png").write_bytes(b"")
    (root / "left_frames" / "frame002.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        dataset = EndoVis17(a_2017_release)
    assert dataset.skipped.counts == {
        "annotation without its frame": 1,
        "size differs from its frame's": 1,
        "unreadable annotation": 1,
        "unreadable image": 1,
        "no object in the sequence": 1,
    }
    assert len(dataset) == 1
    for name in ("frame009.png", "frame000.png", "frame001.png", "frame002.png"):
        assert name in caplog.text


def save_labels18(path: Path, ids: tuple[int, ...]) -> None:
    labels = box_labels(*ids)
    colours = np.array([ENDOVIS18_CLASSES[i][1] for i in range(12)], np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours[labels]).save(path)


@pytest.fixture
def a_2018_release(tmp_path: Path) -> Path:
    for name in ("miccai_challenge_2018_release_1/seq_1", "miccai_challenge_release_4/seq_10"):
        for index in range(2):
            save_frame(tmp_path / name / "left_frames" / f"frame{index:03d}.png", index)
            save_labels18(tmp_path / name / "labels" / f"frame{index:03d}.png", (1, 3, 4))
    return tmp_path


def test_2018_raw(a_2018_release: Path) -> None:
    dataset = EndoVis18(a_2018_release)
    assert [s.name.split("/")[1] for s in dataset] == ["seq_1", "seq_10"]
    sequence = dataset[0]
    assert sequence.object_ids == (1, 3, 4)
    assert sequence.object_names[4] == "kidney-parenchyma"
    labels = sequence.read_labels(0)
    assert labels is not None
    assert np.array_equal(labels, box_labels(1, 3, 4))


def test_2018_classes_can_be_chosen(a_2018_release: Path) -> None:
    sequence = EndoVis18(a_2018_release, classes=("instrument-shaft", 4))[0]
    assert sequence.object_ids == (1, 4)
    with pytest.raises(DatasetError, match="no class 'spoon'; there are background-tissue"):
        EndoVis18(a_2018_release, classes=("spoon",))


def test_2018_reads_its_labels_json(a_2018_release: Path) -> None:
    entries = [
        {"name": name, "color": list(colour), "classid": number + 20 * (number > 0)}
        for number, (name, colour) in ENDOVIS18_CLASSES.items()
    ]
    path = a_2018_release / "miccai_challenge_2018_release_1" / "labels.json"
    path.write_text(json.dumps(entries))
    first, second = EndoVis18(a_2018_release)
    assert first.object_ids == (21, 23, 24)
    assert second.object_ids == (1, 3, 4), "the other release has no table of its own"
    path.write_text('[{"name": "x"}]')
    with pytest.raises(DatasetError, match=r"labels.json must be a list of"):
        EndoVis18(a_2018_release)


def test_2018_unknown_colour(a_2018_release: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = a_2018_release / "miccai_challenge_release_4" / "seq_10" / "labels" / "frame001.png"
    Image.fromarray(np.full((*SHAPE, 3), 77, np.uint8)).save(path)
    with caplog.at_level(logging.WARNING):
        dataset = EndoVis18(a_2018_release)
    assert dataset.skipped.counts == {"unreadable annotation": 1}
    assert "frame001.png" in caplog.text
    assert dataset[1].annotated == (0,)


@pytest.mark.parametrize("kind", [EndoVis17, EndoVis18])
def test_vos_layout(kind: type, a_vos_folder: VOSFolder) -> None:
    root = a_vos_folder({"seq_2": {0: (1, 2), 1: (2,)}})
    save_labels(root / "Annotations" / "seq_2" / "00009.png", box_labels(1))
    dataset = kind(root)
    assert dataset[0].object_ids == (1, 2)
    assert dataset.skipped.counts == {"annotation without its frame": 1}


def test_classes_of_the_vos_layout_cannot_be_chosen(a_vos_folder: VOSFolder) -> None:
    with pytest.raises(DatasetError, match="which has instances"):
        EndoVis18(a_vos_folder({"s": {0: (1,)}}), classes=(1,))


@pytest.mark.parametrize("kind", [EndoVis17, EndoVis18])
def test_other_folders_are_refused(kind: type, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has neither JPEGImages nor"):
        kind(tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        kind(tmp_path / "missing")


def test_sequences_travel_to_worker_processes(a_2017_release: Path, tmp_path: Path) -> None:
    sequence = EndoVis17(a_2017_release)[0]
    copy = pickle.loads(pickle.dumps(sequence))
    assert np.array_equal(copy.read_labels(0), sequence.read_labels(0))
