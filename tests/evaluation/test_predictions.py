"""Scoring of label PNGs that are perfect, and of those that are wrong in any possible way."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgsam2.errors import DatasetError
from surgsam2.evaluation import metrics, parallel
from surgsam2.evaluation.parallel import parallel_map
from surgsam2.evaluation.runner import evaluate_predictions
from surgsam2.evaluation.runs import predictions
from surgsam2.evaluation.runs.predictions import score_predictions

from .conftest import FRAMES, moving_labels, save_indexed, scans_of


@pytest.fixture
def perfect(a_truth: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(a_truth, tmp_path / "predictions"))


def kinds(run: dict) -> set[str]:
    return {problem["kind"] for problem in run["problems"]}


def problem(run: dict, kind: str) -> dict:
    (found,) = [p for p in run["problems"] if p["kind"] == kind]
    return found


def sequence(run: dict, name: str) -> dict:
    return next(s for s in run["sequences"] if s["name"] == name)


def series(run: dict, name: str, object_id: int, key: str) -> list[float]:
    return next(o for o in sequence(run, name)["objects"] if o["id"] == object_id)[key]


def test_perfect_predictions_score_one(a_truth, perfect):
    run = score_predictions(perfect, scans_of(a_truth))
    for convention in ("davis", "all"):
        assert run["overall"][convention]["J&F"] == 1
        assert run["overall"][convention]["objects"] == 4
    assert run["overall"]["davis"]["frames"] == 4 * (FRAMES - 2)
    assert run["class_iou"]["challenge_iou"] == run["class_iou"]["isi_iou"] == 1
    assert run["problems"] == []


@pytest.mark.parametrize("table", ["coco", "csv"])
def test_masks_are_matched_by_the_names_of_the_source_images(a_truth, perfect, tmp_path, table):
    """`surgsam2 segment --keep-names` numbers the masks and tells the names of the images."""
    for name in ("a", "b"):
        folder = tmp_path / "out" / name
        stems = [path.stem for path in sorted((perfect / name).iterdir())]
        shutil.copytree(perfect / name, folder / "masks")
        for index, stem in enumerate(stems):
            (folder / "masks" / f"{stem}.png").rename(folder / "masks" / f"{index + 100:05d}.png")
        if table == "coco":
            images = [
                {"file_name": f"{index + 100:05d}.png", "source": stem}
                for index, stem in enumerate(stems)
            ]
            (folder / "annotations.coco.json").write_text(json.dumps({"images": images}))
        else:
            rows = [f"{stem},{index + 100}" for index, stem in enumerate(stems)]
            (folder / "frames.csv").write_text("\n".join(["source,frame", *rows]))
    run = score_predictions(tmp_path / "out", scans_of(a_truth))
    assert run["overall"]["davis"]["J&F"] == 1
    assert run["problems"] == []


def test_scores_are_means_over_frames_then_objects(a_truth, perfect):
    for index in range(FRAMES):
        labels = np.roll(moving_labels(index), index, axis=1)
        save_indexed(labels, perfect / "a" / f"{index:05d}.png")
    run = score_predictions(perfect, scans_of(a_truth))
    expected = {}
    for object_id in (1, 2):
        values = [
            metrics.score_mask(
                np.roll(moving_labels(i), i, axis=1) == object_id, moving_labels(i) == object_id
            )
            for i in range(FRAMES)
        ]
        assert series(run, "a", object_id, "J") == pytest.approx([v.j for v in values], abs=1e-6)
        expected[object_id] = np.mean([v.j for v in values[1:-1]])
    assert sequence(run, "a")["davis"]["J"] == pytest.approx(np.mean(list(expected.values())))
    overall = (sum(expected.values()) + 2) / 4
    assert run["overall"]["davis"]["J"] == pytest.approx(overall, abs=1e-12)


def test_objects_count_before_they_appear_and_while_hidden(a_truth, perfect):
    run = score_predictions(perfect, scans_of(a_truth))
    assert series(run, "a", 2, "visible") == [0, 0, 1, 1, 0, 1]
    assert series(run, "a", 2, "J") == [1] * FRAMES
    labels = moving_labels(4)
    labels[60:70, 60:70] = 2  # The prediction has the object where the truth does not.
    save_indexed(labels, perfect / "a" / "00004.png")
    run = score_predictions(perfect, scans_of(a_truth))
    assert series(run, "a", 2, "J") == [1, 1, 1, 1, 0, 1]


def test_missing_frames_are_named_and_count_as_empty(a_truth, perfect):
    (perfect / "a" / "00003.png").unlink()
    run = score_predictions(perfect, scans_of(a_truth))
    found = problem(run, "missing-frame")
    assert (found["sequence"], found["frames"]) == ("a", ["00003"])
    assert "empty" in found["counted"]
    assert series(run, "a", 1, "J") == [1, 1, 1, 0, 1, 1]


def test_missing_sequence_scores_nothing_but_its_empty_frames(a_truth, perfect):
    shutil.rmtree(perfect / "b")
    save_indexed(moving_labels(0), perfect / "c" / "00000.png")
    run = score_predictions(perfect, scans_of(a_truth))
    assert problem(run, "missing-sequence")["sequence"] == "b"
    assert problem(run, "unexpected-sequence")["sequence"] == "c"
    assert series(run, "b", 1, "J") == [0] * FRAMES
    assert "missing-frame" not in kinds(run)


def test_extra_objects_are_named_and_lower_isi_iou_only(a_truth, perfect):
    labels = moving_labels(1)
    labels[85:, :] = 9
    save_indexed(labels, perfect / "a" / "00001.png")
    run = score_predictions(perfect, scans_of(a_truth))
    assert "object 9" in problem(run, "extra-object")["message"]
    assert run["overall"]["all"]["J&F"] == 1
    assert run["class_iou"]["challenge_iou"] == 1
    assert run["class_iou"]["isi_iou"] < 1


def test_a_mask_of_255_gets_a_hint(a_truth, perfect):
    save_indexed(np.where(moving_labels(1) == 1, 255, 0).astype(np.uint8), perfect / "a/00001.png")
    run = score_predictions(perfect, scans_of(a_truth))
    assert "0 and 255" in problem(run, "extra-object")["message"]


def test_another_size_counts_as_missing_or_is_resized_on_request(a_truth, perfect):
    small = np.array(Image.fromarray(moving_labels(2)).resize((60, 45), Image.Resampling.NEAREST))
    save_indexed(small, perfect / "a" / "00002.png")
    run = score_predictions(perfect, scans_of(a_truth))
    assert problem(run, "size-mismatch")["message"] == "60x45 where the truth is 120x90"
    assert series(run, "a", 1, "J")[2] == 0
    run = score_predictions(perfect, scans_of(a_truth), size_mismatch="resize")
    assert kinds(run) == {"resized"}
    assert series(run, "a", 1, "J")[2] > 0.9


def test_sixteen_bit_labels_are_ids(a_truth, perfect):
    Image.fromarray(moving_labels(1).astype(np.uint16)).save(perfect / "a" / "00001.png")
    run = score_predictions(perfect, scans_of(a_truth))
    assert kinds(run) == {"sixteen-bit"}
    assert run["overall"]["all"]["J&F"] == 1


def test_rgb_with_equal_channels_is_read_and_named(a_truth, perfect):
    Image.fromarray(np.repeat(moving_labels(1)[..., None], 3, 2)).save(perfect / "a" / "00001.png")
    run = score_predictions(perfect, scans_of(a_truth))
    assert problem(run, "grey-rgb")["frames"] == ["00001"]
    assert run["overall"]["all"]["J&F"] == 1


def test_colours_are_not_guessed_at(a_truth, perfect):
    colours = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)[moving_labels(1)]
    Image.fromarray(colours).save(perfect / "a" / "00001.png")
    run = score_predictions(perfect, scans_of(a_truth))
    assert "indexed" in problem(run, "not-indexed")["message"]
    assert series(run, "a", 1, "J")[1] == 0


def test_broken_files_are_named(a_truth, perfect):
    (perfect / "a" / "00001.png").write_bytes(b"no png")
    run = score_predictions(perfect, scans_of(a_truth))
    assert problem(run, "unreadable")["frames"] == ["00001"]
    assert series(run, "a", 1, "J")[1] == 0


def test_wrong_frame_names_are_named_on_both_sides(a_truth, perfect):
    (perfect / "a" / "00001.png").rename(perfect / "a" / "frame1.png")
    run = score_predictions(perfect, scans_of(a_truth))
    found = problem(run, "unexpected-frame")
    assert found["frames"] == ["frame1"]
    assert "00000.png" in found["message"]
    assert problem(run, "missing-frame")["frames"] == ["00001"]


def test_unreadable_truth_is_named_and_left_out(a_truth, perfect):
    (a_truth / "a" / "00001.png").write_bytes(b"no png")
    results = evaluate_predictions([perfect], a_truth)
    run = results["runs"][0]
    assert problem(run, "truth-unreadable")["frames"] == ["00001"]
    assert len(series(run, "a", 1, "J")) == FRAMES - 1
    assert results["dataset"]["frames"] == 2 * FRAMES - 1


def test_one_sequence_matches_whatever_its_folder_is_called(a_truth, perfect):
    results = evaluate_predictions([perfect / "b"], a_truth / "a")
    assert results["runs"][0]["overall"]["all"]["J&F"] == 1


def test_output_of_segment_is_found_in_its_masks_folder(a_truth, tmp_path):
    shutil.copytree(a_truth / "a", tmp_path / "job" / "masks")
    results = evaluate_predictions([tmp_path / "job"], a_truth / "a")
    assert results["runs"][0]["overall"]["all"]["J&F"] == 1


def test_too_few_frames_for_davis_are_named(tmp_path):
    for index in range(2):
        save_indexed(moving_labels(index), tmp_path / "t" / f"{index}.png")
    results = evaluate_predictions([tmp_path / "t"], tmp_path / "t")
    run = results["runs"][0]
    assert run["overall"]["davis"] == {
        "J&F": None, "J": None, "F": None, "Dice": None, "objects": 0, "frames": 0,
    }  # fmt: skip
    assert run["overall"]["all"]["J&F"] == 1
    assert "not-counted" in kinds(run)


def test_baselines_stand_beside_predictions(a_vos_dataset, tmp_path):
    results = evaluate_predictions([a_vos_dataset / "Annotations"], a_vos_dataset)
    names = {run["name"]: run for run in results["runs"] if run["kind"] == "baseline"}
    assert set(names) == {"first mask copied", "first mask by optical flow"}
    copied = names["first mask copied"]["overall"]["davis"]["J"]
    assert 0 < copied < 1


def test_without_images_there_is_no_flow_baseline(a_truth):
    results = evaluate_predictions([a_truth], a_truth)
    assert [run["name"] for run in results["runs"][1:]] == ["first mask copied"]


@pytest.mark.parametrize("content", ["nothing", "jpegs"])
def test_folders_without_labels_are_refused(tmp_path, a_truth, content):
    folder = tmp_path / "empty"
    folder.mkdir()
    if content == "jpegs":
        (folder / "a.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match="no label PNGs"):
        evaluate_predictions([folder], a_truth)


def test_classes_are_scored_by_name(a_truth, tmp_path):
    root = tmp_path / "gt"
    for number in (2, 5):
        shutil.copytree(a_truth / "a", root / f"seq_{number}")
    results = evaluate_predictions([root], root, protocol="endovis18", values="classes")
    run = results["runs"][0]
    assert [c["name"] for c in run["classes"]] == ["Bipolar Forceps", "Prograsp Forceps"]
    assert run["class_iou"]["mean_class_iou"] == 1
    absent = {p["sequence"] for p in run["problems"] if p["kind"] == "absent-sequence"}
    assert absent == {"sequence 9", "sequence 15"}


def test_large_frames_take_little_memory_however_many(tmp_path):
    for index in range(40):
        labels = np.zeros((720, 1280), np.uint8)
        for value, (y, x) in enumerate(((60, 100), (300, 500), (400, 900)), start=1):
            labels[y : y + 280, x + 2 * index : x + 300 + 2 * index] = value
        save_indexed(labels, tmp_path / "t" / "s" / f"{index:05d}.png")
        save_indexed(np.roll(labels, 4, 1), tmp_path / "p" / "s" / f"{index:05d}.png")
    scans = scans_of(tmp_path / "t")
    marks = []
    tracemalloc.start()
    try:
        run = score_predictions(
            tmp_path / "p",
            scans,
            progress=lambda _, done, __: marks.append(tracemalloc.get_traced_memory()[0]),
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.8 < run["overall"]["all"]["J"] < 1
    assert peak < 150e6, "a few frames at a time"
    assert max(marks[30:]) < max(marks[5:15]) + 20e6, "does not grow with the frames"


def test_as_many_frames_at_once_as_there_are_cores(perfect, a_truth, monkeypatch):
    scans = scans_of(a_truth)
    together = threading.Barrier(3)
    read, calls = predictions.read_labels, itertools.count()

    def read_with_others(path):
        if next(calls) < 3:
            together.wait(timeout=60)  # The barrier opens only when three frames are read at once.
        return read(path)

    monkeypatch.setattr(parallel, "cores", lambda: 3)
    monkeypatch.setattr(predictions, "read_labels", read_with_others)
    run = score_predictions(perfect, scans)
    assert not together.broken
    assert run["overall"]["all"]["J&F"] == 1


def test_parallel_map_keeps_order_and_stays_lazy():
    started = []

    def work(n: int) -> int:
        started.append(n)
        return n * n

    results = parallel_map(work, range(1000), workers=2)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(started) < 20
    assert list(results) == [n * n for n in range(5, 1000)]
