"""Reading of the truth from disk: what is used, and what is named and left out."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from surgsam2.data import EndoVis18
from surgsam2.data.endovis import read_instrument_mask
from surgsam2.data.label_reader import read_labels
from surgsam2.data.sequence import image_size, read_indexed
from surgsam2.errors import DatasetError
from surgsam2.evaluation.runner import evaluate, evaluate_predictions
from surgsam2.evaluation.truth.datasets import open_truth
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.evaluation.truth.protocols import get_protocol
from surgsam2.evaluation.truth.sequences import Scan, scan

from .conftest import FRAMES, moving_labels, save_indexed, write_vos_sequence

Found = list[tuple[str, str, list[str]]]


def look(folder: Path, **options) -> tuple[list[Scan], Found]:
    """Scan a folder; return the scans and (kind, message, frames) of each problem."""
    problems = Problems()
    truth = open_truth(folder, get_protocol("vos"), problems, **options)
    scans = [scan(sequence, problems) for sequence in truth.sequences]
    return scans, [(p["kind"], p["message"], p["frames"]) for p in problems.as_list()]


def save_wide(values: np.ndarray, path: Path) -> None:
    """Write a 16-bit RGB PNG."""
    assert cv2.imwrite(str(path), values.astype(np.uint16)[..., ::-1])


def chunk(kind: bytes, data: bytes) -> bytes:
    """Encode a chunk of a PNG."""
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def save_huge(path: Path) -> None:
    """Write a PNG whose header claims 30000x30000 pixels."""
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0" * 99)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_a_truth_of_another_size_is_named_and_left_out(a_truth):
    save_indexed(moving_labels(3, (45, 60)), a_truth / "a" / "00003.png")
    results = evaluate_predictions([a_truth], a_truth)
    found = [p for p in results["runs"][0]["problems"] if p["kind"] == "truth-size"]
    assert [(p["sequence"], p["frames"]) for p in found] == [("a", ["00003"])]
    assert "60x45 where the first is 120x90" in found[0]["message"]
    assert results["runs"][0]["sequences"][0]["objects"][0]["frames"] == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("labels_only", [False, True])
def test_labels_and_images_of_another_size_are_left_out(a_vos_dataset, labels_only):
    save_indexed(moving_labels(1, (45, 60)), a_vos_dataset / "Annotations/clip/00001.png")
    small = np.zeros((45, 60, 3), np.uint8)
    Image.fromarray(small).save(a_vos_dataset / "JPEGImages/clip/00004.png")
    (a_vos_dataset / "JPEGImages/clip/00005.png").unlink()
    (each,), found = look(a_vos_dataset, labels_only=labels_only)
    assert [each.sequence.frames[i] for i in each.annotated] == ["00000", "00002", "00003"]
    assert found[:-1] == [
        ("truth-skipped", "image of 60x45 where the first has 120x90", ["00004"]),
        ("truth-skipped", "label without its frame", ["00005"]),
        ("truth-size", "the truth has 60x45 where the first is 120x90", ["00001"]),
    ]


def test_both_modes_see_the_same_truth(a_perfect_tracker, a_vos_dataset):
    labels = a_vos_dataset / "Annotations" / "clip"
    Image.fromarray(np.repeat(moving_labels(1)[..., None], 3, 2)).save(labels / "00001.png")
    Image.fromarray(moving_labels(2).astype(np.uint16)).save(labels / "00002.png")
    (labels / "00003.png").write_bytes(b"no png")
    options = {"baselines": ["copy"]}
    tracked = evaluate(a_vos_dataset, models=[], **options)
    scored = evaluate_predictions([labels.parent], a_vos_dataset, **options)
    (first,), (_, second) = tracked["runs"], scored["runs"]
    assert first["overall"] == second["overall"]
    assert first["problems"] == second["problems"]
    assert tracked["dataset"] == scored["dataset"]
    assert [(p["kind"], p["frames"]) for p in first["problems"]] == [
        ("grey-rgb", ["00001"]),
        ("sixteen-bit", ["00002"]),
        ("truth-unreadable", ["00003"]),
    ]


def test_values_outside_the_classes_are_the_same_in_both_modes(tmp_path):
    root = write_vos_sequence(tmp_path / "dataset", "seq_2")
    for index in range(FRAMES):
        labels = np.array([0, 1, 9], np.uint8)[moving_labels(index)]
        save_indexed(labels, root / "Annotations" / "seq_2" / f"{index:05d}.png")
    options = {"protocol": "endovis18", "values": "classes", "baselines": ["copy"]}
    (first,) = evaluate(root, models=[], **options)["runs"]
    _, second = evaluate_predictions([root], root, **options)["runs"]
    assert first["classes"] == second["classes"]
    assert [c["name"] for c in first["classes"]] == ["Bipolar Forceps", "class 9"]
    assert first["classes"][1]["all"]["objects"] == 1


def test_255_is_void_beside_other_ids_and_an_object_alone(tmp_path):
    for index in range(FRAMES):
        labels = moving_labels(index)
        save_indexed(np.where(labels == 1, 255, 0).astype(np.uint8), tmp_path / f"m/a/{index}.png")
        labels[:5, :9] = 255
        save_indexed(labels, tmp_path / "v" / "a" / f"{index}.png")
    (each,), found = look(tmp_path / "v", labels_only=True)
    assert set(each.first_frames) == {1, 2}
    assert each.sequence.labels(0).max() == 1
    assert [kind for kind, _, _ in found] == ["void"]
    (each,), found = look(tmp_path / "m", labels_only=True)
    assert set(each.first_frames) == {255}
    assert found == []


def test_wide_channels_are_read_or_refused_but_never_empty(tmp_path):
    path = tmp_path / "a.png"
    labels = moving_labels(2)
    save_wide(np.repeat(labels[..., None], 3, 2), path)
    file = read_labels(path)
    assert file.problem == "grey-rgb"
    assert file.labels is not None
    assert np.array_equal(file.labels, labels)
    assert np.array_equal(read_instrument_mask(path), labels > 0)
    with pytest.raises(DatasetError, match="colour image"):
        read_indexed(path)
    save_wide(np.stack([labels, labels, 0 * labels], -1), path)
    assert read_labels(path).problem == "not-indexed"


def test_colour_codes_of_sixteen_bits_are_left_out(an_endovis18_release):
    path = an_endovis18_release / "seq_2" / "labels" / "frame003.png"
    save_wide(np.asarray(Image.open(path)), path)
    dataset = EndoVis18(an_endovis18_release)
    assert dataset.skipped.counts == {"unreadable annotation": 1}
    assert 3 not in dataset[0].annotated


def test_grey_with_alpha_of_sixteen_bits_is_not_empty(tmp_path):
    rows = b"".join(b"\0" + bytes([0, value, 255, 255] * 4) for value in (0, 2, 2, 5))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 4, 0, 0, 0))
    body = header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    labels = read_labels(tmp_path / "a.png").labels
    assert labels is not None
    assert labels[:, 0].tolist() == [0, 2, 2, 5]


def test_a_huge_header_is_an_unreadable_file(tmp_path):
    path = tmp_path / "a.png"
    save_huge(path)
    assert read_labels(path).problem == "unreadable"
    for read in (read_indexed, image_size, read_instrument_mask):
        with pytest.raises(DatasetError, match="cannot read"):
            read(path)


def test_stray_files_do_not_make_one_sequence_of_a_folder(a_truth, tmp_path):
    predictions = Path(shutil.copytree(a_truth, tmp_path / "predictions"))
    for folder in (a_truth, predictions):
        shutil.copy(folder / "a" / "00000.png", folder / "preview.png")
    results = evaluate_predictions([predictions], a_truth)
    run = results["runs"][0]
    assert run["overall"]["all"]["objects"] == 4
    assert [(p["sequence"], p["frames"]) for p in run["problems"] if p["kind"] == "stray-file"] == [
        ("truth", ["preview"]),
        ("predictions", ["preview"]),
    ]


def test_a_sequence_named_twice_counts_once(a_truth):
    results = evaluate_predictions([a_truth], a_truth, sequences=["a", "a", "b"])
    assert [s["name"] for s in results["runs"][0]["sequences"]] == ["a", "b"]


def test_sequences_without_frames_are_named(a_vos_dataset):
    for index in range(FRAMES):
        save_indexed(moving_labels(index), a_vos_dataset / f"Annotations/more/{index:05d}.png")
    scans, found = look(a_vos_dataset)
    assert [each.sequence.name for each in scans] == ["clip"]
    assert found == [("truth-skipped", "annotated sequence without frames", [])]
    shutil.rmtree(a_vos_dataset / "Annotations" / "clip")
    with pytest.raises(DatasetError, match="its frames in JPEGImages"):
        look(a_vos_dataset)


def test_frames_directly_in_the_folders_and_resolution_levels_are_read(a_vos_dataset, tmp_path):
    for part, level in (("JPEGImages", "480p"), ("Annotations", ".")):
        shutil.copytree(a_vos_dataset / part / "clip", tmp_path / "flat" / part)
        shutil.copytree(a_vos_dataset / part, tmp_path / "davis" / part / level)
    for folder, name in (("flat", "flat"), ("davis", "clip")):
        (each,), found = look(tmp_path / folder)
        assert (each.sequence.name, len(each.annotated), found) == (name, FRAMES, [])
        assert each.sequence.open is not None


def test_objects_that_start_too_late_to_count_are_named(tmp_path):
    for index in range(FRAMES):
        labels = (moving_labels(index) == 1).astype(np.uint8)
        labels[-9:] = 7 * (index >= FRAMES - 2)
        save_indexed(labels, tmp_path / "a" / f"{index}.png")
    _, found = look(tmp_path, labels_only=True)
    message = "object 7 first seen on the last two frames, surgsam2 skips two from there"
    assert found == [("not-counted", message, [])]
    run = evaluate_predictions([tmp_path], tmp_path)["runs"][0]
    assert [run["overall"][c]["objects"] for c in ("davis", "surgsam2", "all")] == [2, 1, 2]


def test_unknown_ids_are_of_no_class(an_endovis17_release, tmp_path):
    for index in range(FRAMES):
        labels = moving_labels(index)
        labels[-5:, -9:] = 6  # This is the number of a class, but of no instrument in the truth.
        save_indexed(labels, tmp_path / f"p/instrument_dataset_1/frame{index:03d}.png")
    run = evaluate_predictions(
        [tmp_path / "p"], an_endovis17_release, protocol="endovis17",
        sequences=["instrument_dataset_1"],
    )["runs"][0]  # fmt: skip
    assert [(c["name"], c["IoU"]) for c in run["classes"]] == [
        ("Prograsp Forceps", 1),
        ("no known class", 0),
    ]


def test_only_predictions_without_a_name_are_matched_whatever_theirs_is(a_truth, tmp_path):
    shutil.rmtree(a_truth / "b")
    shutil.copytree(a_truth / "a", tmp_path / "p" / "other")
    run = evaluate_predictions([tmp_path / "p"], a_truth)["runs"][0]
    kinds = {p["kind"] for p in run["problems"]}
    assert {"missing-sequence", "unexpected-sequence"} <= kinds
    assert run["overall"]["all"]["J"] < 0.5
    flat = evaluate_predictions([tmp_path / "p" / "other"], a_truth)["runs"][0]
    assert flat["overall"]["all"]["J"] == 1
