"""VOS folders: what is read, and what is left out and why."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgsam2.data import ImageDataset, VOSDataset
from surgsam2.data.sequence import natural_key, read_indexed
from surgsam2.errors import DatasetError
from surgsam2.storage.palette import VOC_PALETTE

from .conftest import SHAPE, VOSFolder, box_labels, save_frame, save_labels


def test_sequences_frames_and_ids(a_vos_folder: VOSFolder) -> None:
    root = a_vos_folder({"b": {0: (1, 3), 1: (3,), 2: None}, "a": {5: (2,)}})
    dataset = VOSDataset(root)
    assert [s.name for s in dataset] == ["a", "b"]
    b = dataset[1]
    assert b.object_ids == (1, 3)
    assert b.annotated == (0, 1)
    frame, labels = b.read(0)
    assert frame.shape == (*SHAPE, 3)
    assert frame.dtype == np.uint8
    assert labels is not None
    assert labels.dtype == np.uint16
    assert np.array_equal(labels, box_labels(1, 3))
    assert b.read(2)[1] is None
    assert len(list(b)) == 3
    assert not dataset.skipped.counts


def test_sequences_can_be_chosen(a_vos_folder: VOSFolder) -> None:
    root = a_vos_folder({"a": {0: (1,)}, "b": {0: (1,)}, "c": {0: (1,)}})
    assert [s.name for s in VOSDataset(root, ["c", "a"])] == ["c", "a"]
    with pytest.raises(DatasetError, match="no sequence 'd'; it has a, b, c"):
        VOSDataset(root, ["d"])


def test_a_flat_folder_is_one_sequence(tmp_path: Path) -> None:
    save_frame(tmp_path / "case" / "JPEGImages" / "0.jpg")
    save_labels(tmp_path / "case" / "Annotations" / "0.png", box_labels(4))
    (sequence,) = VOSDataset(tmp_path / "case")
    assert sequence.name == "case"
    assert sequence.object_ids == (4,)


def test_davis_resolution_folders_are_found(tmp_path: Path) -> None:
    save_frame(tmp_path / "JPEGImages" / "480p" / "bear" / "00000.jpg")
    save_labels(tmp_path / "Annotations" / "480p" / "bear" / "00000.png", box_labels(1))
    assert [s.name for s in VOSDataset(tmp_path)] == ["bear"]


@pytest.mark.parametrize("mode", ["P", "L", "I;16"])
def test_indexed_images_of_every_depth(tmp_path: Path, mode: str) -> None:
    top = 40000 if mode == "I;16" else 200
    labels = box_labels(1, top)
    assert np.array_equal(read_indexed(save_labels(tmp_path / "a.png", labels, mode)), labels)


def test_frames_are_in_numeric_order(tmp_path: Path) -> None:
    for name in ("frame10", "frame9", "frame100"):
        save_frame(tmp_path / "JPEGImages" / "s" / f"{name}.png")
        save_labels(tmp_path / "Annotations" / "s" / f"{name}.png", box_labels(1))
    (sequence,) = VOSDataset(tmp_path)
    assert [p.stem for p in sequence.frame_paths] == ["frame9", "frame10", "frame100"]  # type: ignore[attr-defined]
    assert natural_key("a2b") < natural_key("a10b")


def check_left_out(
    root: Path, caplog: pytest.LogCaptureFixture, reason: str, file: str, frames: int
) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = VOSDataset(root)
    assert dataset.skipped.counts == {reason: 1}
    assert any(reason in r.message and file in r.message for r in caplog.records)
    assert "left out" in caplog.text
    assert len(dataset[0].annotated) == frames


def test_annotation_without_its_frame(
    a_vos_folder: VOSFolder, caplog: pytest.LogCaptureFixture
) -> None:
    root = a_vos_folder({"a": {0: (1,)}})
    save_labels(root / "Annotations" / "a" / "00007.png", box_labels(1))
    check_left_out(root, caplog, "annotation without its frame", "00007.png", 1)


def test_size_mismatch(a_vos_folder: VOSFolder, caplog: pytest.LogCaptureFixture) -> None:
    root = a_vos_folder({"a": {0: (1,), 1: (1,)}})
    save_labels(root / "Annotations" / "a" / "00001.png", box_labels(1, shape=(30, 40)))
    check_left_out(root, caplog, "size differs from its frame's", "00001.png", 1)


def test_colour_png_in_place_of_an_indexed_one(
    a_vos_folder: VOSFolder, caplog: pytest.LogCaptureFixture
) -> None:
    root = a_vos_folder({"a": {0: (1,), 1: (1,)}})
    Image.fromarray(VOC_PALETTE[box_labels(1)]).save(root / "Annotations" / "a" / "00001.png")
    reason = "colour PNG where an indexed one is expected"
    check_left_out(root, caplog, reason, "00001.png", 1)


def test_fractions_are_no_object_ids(
    a_vos_folder: VOSFolder, caplog: pytest.LogCaptureFixture
) -> None:
    root = a_vos_folder({"a": {0: (1,), 1: (1,)}})
    label = root / "Annotations" / "a" / "00001.png"
    label.unlink()
    Image.fromarray(box_labels(1).astype(np.float32)).save(label.with_suffix(".tif"))
    check_left_out(root, caplog, "values that are not object ids", "00001.tif", 1)


@pytest.mark.parametrize("cut", [0, 20, 400])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_unreadable_image(
    a_vos_folder: VOSFolder, caplog: pytest.LogCaptureFixture, cut: int, suffix: str
) -> None:
    """Empty, cut off in its header, or cut off in its pixels."""
    root = a_vos_folder({"a": {0: (1,), 1: (1,)}}, suffix)
    path = root / "JPEGImages" / "a" / f"00001.{suffix}"
    data = path.read_bytes()
    assert len(data) > 450
    path.write_bytes(data[:cut])
    check_left_out(root, caplog, "unreadable image", f"00001.{suffix}", 1)
    assert len(VOSDataset(root)[0]) == 1


def test_unreadable_annotation(a_vos_folder: VOSFolder, caplog: pytest.LogCaptureFixture) -> None:
    root = a_vos_folder({"a": {0: (1,), 1: (1,)}})
    (root / "Annotations" / "a" / "00001.png").write_bytes(b"not a png")
    check_left_out(root, caplog, "unreadable annotation", "00001.png", 1)


def test_sequence_without_objects(
    a_vos_folder: VOSFolder, caplog: pytest.LogCaptureFixture
) -> None:
    root = a_vos_folder({"a": {0: (1,)}, "empty": {0: (), 1: None}})
    check_left_out(root, caplog, "no object in the sequence", "empty", 1)


def test_annotated_sequence_without_frames(
    a_vos_folder: VOSFolder, caplog: pytest.LogCaptureFixture
) -> None:
    root = a_vos_folder({"a": {0: (1,)}})
    save_labels(root / "Annotations" / "ghost" / "00000.png", box_labels(1))
    check_left_out(root, caplog, "annotated sequence without frames", "ghost", 1)


def test_nothing_left_is_an_error_that_says_why(a_vos_folder: VOSFolder) -> None:
    root = a_vos_folder({"a": {0: ()}, "b": {0: None}})
    with pytest.raises(DatasetError, match=r"no usable sequence.*no object in the sequence: 2"):
        VOSDataset(root)


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no folder JPEGImages; expected"):
        VOSDataset(tmp_path)


def test_a_file_that_goes_bad_after_opening_is_an_error(a_vos_folder: VOSFolder) -> None:
    root = a_vos_folder({"a": {0: (1,)}})
    (sequence,) = VOSDataset(root)
    (root / "JPEGImages" / "a" / "00000.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="cannot read the image"):
        sequence.read(0)


def test_images_are_videos_of_one_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("x", "y", "bare"):
        save_frame(tmp_path / "images" / f"{name}.jpg")
    for name in ("x", "y", "orphan"):
        save_labels(tmp_path / "masks" / f"{name}.png", box_labels(2))
    with caplog.at_level(logging.WARNING):
        dataset = ImageDataset(tmp_path / "images", tmp_path / "masks")
    assert [(s.name, len(s), s.annotated) for s in dataset] == [("x", 1, (0,)), ("y", 1, (0,))]
    assert dataset.skipped.counts == {
        "image without a mask": 1,
        "annotation without its frame": 1,
    }
    assert "bare.jpg" in caplog.text
    with pytest.raises(DatasetError, match="is not a folder"):
        ImageDataset(tmp_path / "nowhere", tmp_path / "masks")


def test_every_file_that_is_left_out_is_logged_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A log that shows each kind of message once still has every name and reason."""
    save_frame(tmp_path / "JPEGImages" / "a" / "00000.jpg")
    save_labels(tmp_path / "Annotations" / "a" / "00000.png", box_labels(1))
    broken = []
    for k in range(1, 15):
        save_frame(tmp_path / "JPEGImages" / "a" / f"{k:05}.jpg")
        broken.append(tmp_path / "Annotations" / "a" / f"{k:05}.png")
        broken[-1].write_bytes(b"broken")
    save_labels(tmp_path / "Annotations" / "a" / "99999.png", box_labels(1))
    with caplog.at_level(logging.WARNING):
        VOSDataset(tmp_path)
    (record,) = caplog.records
    text = record.getMessage()
    assert all(str(file) in text for file in broken)
    assert "unreadable annotation: 14 (" in text
    assert "annotation without its frame: 1 (" in text


@pytest.mark.parametrize(("values", "ids"), [((0, 2, 255), (2,)), ((0, 255), (255,))])
def test_255_beside_objects_is_void(
    values: tuple[int, ...], ids: tuple[int, ...], tmp_path: Path
) -> None:
    """As in an evaluation: alone the value is an object."""
    labels = np.zeros((24, 32), np.uint8)
    for k, value in enumerate(values):
        labels[:, 4 * k : 4 * k + 4] = value
    save_frame(tmp_path / "JPEGImages" / "a" / "00000.jpg")
    path = tmp_path / "Annotations" / "a" / "00000.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(labels).save(path)
    (sequence,) = VOSDataset(tmp_path)
    assert sequence.object_ids == ids
    read = sequence.read_labels(0)
    assert read is not None
    assert {int(v) for v in np.unique(read)} == {0, *ids}
