"""Evaluation of models in every dataset layout and prompt setting."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgsam2.errors import InputError
from surgsam2.evaluation.report import write_report
from surgsam2.evaluation.runner import (
    ModelSpec,
    evaluate,
    evaluate_predictions,
    prompts_for,
    score_tracking,
)
from surgsam2.evaluation.truth.datasets import open_truth
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.evaluation.truth.protocols import get_protocol
from surgsam2.evaluation.truth.sequences import scan

from .conftest import FRAMES, moving_labels, save_indexed, write_vos_sequence


def check_end_to_end(results: dict, folder: Path, sequences: int) -> None:
    assert results["dataset"]["sequences"] == sequences
    models = [run for run in results["runs"] if run["kind"] == "model"]
    assert [run["prompts"] for run in models] == ["mask", "1pt", "5pt"]
    for run in models:
        assert 0 <= run["overall"]["davis"]["J&F"] <= 1
        assert run["overall"]["all"]["objects"] == 2 * sequences
        assert run["speed"]["fps"] > 0
        assert run["speed"]["peak_memory_mb"] > 0
        assert run["estimates"]["presence"]["frames"] > 0
        for entry in run["sequences"]:
            for item in entry["objects"]:
                assert item["frames"] == list(range(FRAMES))
                assert item["prompt_frame"] == (0 if item["id"] == 1 else 2)
                assert len(item["J"]) == len(item["presence"]) == FRAMES
        # Before its prompt, the object is not visible and nothing is predicted.
        late = run["sequences"][0]["objects"][1]
        assert late["J"][:2] == [1, 1]
    assert models[0]["sequences"][0]["objects"][0]["J"][0] > 0.8, "the given mask comes back"
    assert sum(run["kind"] == "baseline" for run in results["runs"]) == 2
    json.dumps(results, default=lambda _: "jpeg", allow_nan=False)


def test_vos_layout(a_vos_dataset, a_spec):
    seen = []
    results = evaluate(
        a_vos_dataset,
        models=[a_spec],
        progress=lambda label, done, total: seen.append((done, total)),
    )
    check_end_to_end(results, a_vos_dataset, 1)
    assert (FRAMES, FRAMES) in seen
    run = results["runs"][0]
    assert run["class_iou"]["over"] == "objects"
    assert run["problems"] == []
    assert [w["jpeg"][:2] for w in run["worst"]] == [b"\xff\xd8"] * 2
    # Only for a single click, which is ambiguous, the network offers several masks.
    by_prompts = {r["prompts"]: r for r in results["runs"]}
    assert by_prompts["1pt"]["oracle"]["prompts"] == 2
    assert by_prompts["1pt"]["oracle"]["gap"] >= 0
    assert by_prompts["mask"]["oracle"] is None


def test_endovis17_release(an_endovis17_release, a_spec):
    results = evaluate(an_endovis17_release, protocol="endovis17", split="fold0", models=[a_spec])
    check_end_to_end(results, an_endovis17_release, 2)
    run = results["runs"][0]
    assert [(c["id"], c["name"]) for c in run["classes"]] == [(2, "Prograsp Forceps")]
    assert run["classes"][0]["davis"]["objects"] == 4, "two of them in each sequence"
    assert run["class_iou"]["mean_class_iou"] == pytest.approx(run["classes"][0]["IoU"])
    assert results["protocol"]["split"] == "fold0"
    chosen = ["instrument_dataset_3"]
    results = evaluate(
        an_endovis17_release, protocol="endovis17", sequences=chosen, models=[], baselines=["copy"]
    )
    assert results["protocol"]["split"] is None
    assert [s["name"] for s in results["runs"][0]["sequences"]] == chosen


def test_endovis18_release(an_endovis18_release, a_spec):
    results = evaluate(an_endovis18_release, protocol="endovis18", models=[a_spec])
    check_end_to_end(results, an_endovis18_release, 1)
    run = results["runs"][0]
    assert [c["name"] for c in run["classes"]] == ["instrument-shaft", "kidney-parenchyma"]
    assert {p["sequence"] for p in run["problems"]} == {f"sequence {n}" for n in (5, 9, 15)}


def test_endovis_in_vos_layout_has_instances(tmp_path, a_spec):
    root = write_vos_sequence(tmp_path, "seq_2")
    results = evaluate(root, protocol="endovis18", models=[a_spec], prompts=["mask"], baselines=[])
    assert results["runs"][0]["classes"] == []
    results = evaluate(
        root, protocol="endovis18", values="classes", models=[a_spec], prompts=["mask"],
        baselines=[],
    )  # fmt: skip
    assert [c["name"] for c in results["runs"][0]["classes"]] == [
        "Bipolar Forceps",
        "Prograsp Forceps",
    ]


def test_pruning_and_sizes_stand_side_by_side(a_vos_dataset, a_spec):
    specs = [a_spec, ModelSpec(a_spec.model, a_spec.config, "off", "cpu")]
    results = evaluate(a_vos_dataset, models=specs, prompts=["mask"], baselines=[])
    assert [run["name"] for run in results["runs"]] == ["strong, 128, EFP", "strong, 128, EFP off"]
    assert [run["efp"] for run in results["runs"]] == ["capped", "off"]
    assert all(len(run["checkpoint_sha256"]) == 64 for run in results["runs"])


def test_runs_have_different_names(a_perfect_tracker, a_vos_dataset, a_spec, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(a_spec.model, tmp_path / name / "best.pt")
    specs = [
        ModelSpec(str(tmp_path / name / "best.pt"), a_spec.config, device="cpu")
        for name in ("one", "two")
    ]
    named = ModelSpec(a_spec.model, a_spec.config, device="cpu", name="mine")
    results = evaluate(a_vos_dataset, models=[*specs, named], prompts=["mask"], baselines=["copy"])
    assert [run["name"] for run in results["runs"]] == [
        *("one/best, 128, EFP", "two/best, 128, EFP", "mine, 128, EFP", "first mask copied")
    ]


def test_predictions_of_one_name_are_told_apart(a_truth, tmp_path):
    folders = [shutil.copytree(a_truth, tmp_path / name / "masks") for name in ("one", "two")]
    results = evaluate_predictions(folders, a_truth, baselines=[])
    assert [run["name"] for run in results["runs"]] == ["one/masks", "two/masks"]
    results = evaluate_predictions(folders, a_truth, names=["x", "x"], baselines=[])
    assert [run["name"] for run in results["runs"]] == ["x", "x (2)"]
    with pytest.raises(InputError, match="2 folders of predictions for 3 names"):
        evaluate_predictions(folders, a_truth, names=["x", "y", "z"])


def test_predictions_without_images_name_the_baseline_that_is_left_out(a_truth):
    results = evaluate_predictions([a_truth], a_truth)
    assert [run["name"] for run in results["runs"]] == ["truth", "first mask copied"]
    (problem,) = results["runs"][0]["problems"]
    assert problem["kind"] == "baseline-left-out"
    assert problem["message"] == "baseline left out: no images of a, b"
    assert not any("prompted" in line for line in results["protocol"]["counting"])


def test_protocol_names_the_headline_convention(a_vos_dataset):
    predictions = [a_vos_dataset / "Annotations"]
    for protocol in ("vos", "endovis18"):
        results = evaluate_predictions(
            predictions, a_vos_dataset, protocol=protocol, sequences=["clip"], baselines=[]
        )
        assert results["convention"] == get_protocol(protocol).convention


def test_a_perfect_tracker_scores_one(a_perfect_tracker, a_vos_dataset, a_spec):
    results = evaluate(a_vos_dataset, models=[a_spec], prompts=["mask"])
    run = results["runs"][0]
    for convention in ("davis", "all"):
        assert run["overall"][convention]["J&F"] == 1
    assert run["speed"]["fps"] == pytest.approx(100)
    assert run["estimates"]["presence"]["auroc"] == 1
    assert run["estimates"]["predicted_iou"]["mean_absolute_error"] == 0


def test_one_tracked_video_is_scored_for_a_report(a_perfect_tracker, a_vos_dataset, tmp_path):
    from surgsam2.tracking.segment import segment_video

    problems = Problems()
    truth = open_truth(a_vos_dataset, get_protocol("vos"), problems).sequences[0]
    prompts = prompts_for(scan(truth, problems), "mask", 0)
    assert truth.open is not None
    with truth.open() as video:
        record = score_tracking("demo", truth, segment_video(None, video, prompts), model="demo")
    assert record["overall"]["davis"]["J&F"] == 1
    assert record["model"] == "demo"
    page = write_report({"title": "Demo", "runs": [record]}, tmp_path)["html"].read_text()
    assert "100.0" in page


def test_a_wrong_model_is_found_before_anything_runs(a_perfect_tracker, a_vos_dataset, a_spec):
    seen = []
    with pytest.raises(InputError, match="nonsense"):
        evaluate(
            a_vos_dataset,
            models=[a_spec, ModelSpec(a_spec.model, a_spec.config, "nonsense", "cpu")],
            progress=lambda *call: seen.append(call),
        )
    assert seen == []


def test_predictions_for_a_nested_release_may_use_the_last_name(an_endovis18_release, tmp_path):
    shutil.move(an_endovis18_release / "seq_2", tmp_path / "r" / "miccai_release_1" / "seq_2")
    for index in range(FRAMES):
        labels = np.array([0, 1, 4], np.uint8)[moving_labels(index)]
        save_indexed(labels, tmp_path / "p" / "seq_2" / f"frame{index:03d}.png")
        save_indexed(labels, tmp_path / "p" / "seq_99" / f"frame{index:03d}.png")
    results = evaluate_predictions([tmp_path / "p"], tmp_path / "r", protocol="endovis18")
    run = results["runs"][0]
    assert run["overall"]["all"]["J&F"] == 1
    assert [p["sequence"] for p in run["problems"] if p["kind"] == "unexpected-sequence"] == [
        "seq_99"
    ]


def test_frames_without_labels_are_tracked_and_not_scored(a_perfect_tracker, a_vos_dataset, a_spec):
    for index in (1, 3):
        (a_vos_dataset / "Annotations" / "clip" / f"{index:05d}.png").unlink()
    results = evaluate(a_vos_dataset, models=[a_spec], prompts=["mask"], baselines=[])
    assert results["runs"][0]["sequences"][0]["objects"][0]["frames"] == [0, 2, 4, 5]
    assert results["runs"][0]["overall"]["davis"]["J&F"] == 1


def test_unusable_truth_is_named(a_perfect_tracker, a_vos_dataset, a_spec):
    colours = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)[moving_labels(3)]
    Image.fromarray(colours).save(a_vos_dataset / "Annotations" / "clip" / "00003.png")
    results = evaluate(a_vos_dataset, models=[a_spec], prompts=["mask"])
    for run in results["runs"]:
        (problem,) = run["problems"]
        assert problem["kind"] == "truth-unreadable"
        assert problem["frames"] == ["00003"]
        assert str(a_vos_dataset) not in problem["message"]


def test_raw_endovis17_frames_lose_their_black_border(tmp_path):
    folder = tmp_path / "instrument_dataset_1"
    labels = np.zeros((1080, 1920), np.uint8)
    labels[28, 320] = labels[1051, 1599] = 10
    for part in ("left_frames", "ground_truth/Left_Vessel_Sealer_labels"):
        (folder / part).mkdir(parents=True)
        Image.fromarray(labels).save(folder / part / "frame000.png")
    truth = open_truth(tmp_path, get_protocol("endovis17"), Problems(), split="fold0")
    (sequence,) = truth.sequences
    file = sequence.read(0)
    assert file is not None
    assert file.labels is not None
    assert file.labels.shape == (1024, 1280)
    assert file.labels[0, 0] == file.labels[-1, -1] == 1
    assert sequence.open is not None
    assert (sequence.open().height, sequence.open().width) == (1024, 1280)


def test_prompts_are_on_the_first_frame_of_each_object(a_vos_dataset):
    problems = Problems()
    truth = open_truth(a_vos_dataset, get_protocol("vos"), problems)
    each = scan(truth.sequences[0], problems)
    masks = prompts_for(each, "mask", 0)
    assert [(p.id, p.prompts[0].frame) for p in masks] == [(1, 0), (2, 2)]
    assert (masks.for_object(2).prompts[0].mask == (moving_labels(2) == 2)).all()
    points = prompts_for(each, "5pt", 0).for_object(2).prompts[0]
    assert len(points.points) == 5
    assert all(moving_labels(2)[int(y), int(x)] == 2 for x, y in points.points)


def test_evaluation_imports_without_torch():
    code = "import sys, surgsam2.evaluation, surgsam2.evaluation.runner, surgsam2.evaluation.report"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


@pytest.mark.parametrize("alone", [False, True])
def test_a_mask_that_the_network_cannot_see(alone: bool, tmp_path: Path, a_spec: ModelSpec) -> None:
    """Such a mask cannot be a prompt. It counts as missed and is named; the others are tracked."""
    root = tmp_path / "dataset"
    for index in range(3):
        labels = moving_labels(index, (512, 512)) * (not alone)
        labels[300, 300] = 3
        save_indexed(labels, root / "Annotations" / "clip" / f"{index:05d}.png")
        save_indexed(np.stack([labels * 50] * 3, -1), root / "JPEGImages/clip" / f"{index:05d}.png")
    results = evaluate(root, models=[a_spec], prompts=["mask", "1pt"], baselines=[])
    masks, click = results["runs"]
    (problem,) = [p for p in masks["problems"] if p["kind"] == "prompt-vanishes"]
    assert problem["frames"] == ["00000"]
    assert "mask of object 3 vanishes in the 128x128 input" in problem["message"]
    assert all(p["kind"] != "prompt-vanishes" for p in click["problems"])
    objects = {item["id"]: item for item in masks["sequences"][0]["objects"]}
    assert objects[3]["J"] == [0, 0, 0]
    assert (1 in objects) is not alone
    if not alone:
        assert objects[1]["J"][0] > 0.6
