"""The protocol `returns`: its clips, its scores and its place in the report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from surgsam2.data.synthetic import EVENTS, ReturnClip
from surgsam2.errors import InputError
from surgsam2.evaluation.metrics.returns import find_absences, score_returns, summarize_returns
from surgsam2.evaluation.metrics.scores import score_frame
from surgsam2.evaluation.report import render_html, summary_text, write_report
from surgsam2.evaluation.runner import ModelSpec, evaluate
from surgsam2.evaluation.truth.returns import open_returns
from surgsam2.tracking.options import TrackingOptions

from .test_report import check_page

SIZE = (96, 96)


@pytest.mark.parametrize("event", EVENTS)
def test_objects_disappear_for_the_given_time_and_come_back(event):
    clip = ReturnClip(3, event, 20, before=10, after=12, size=SIZE)
    visible = [bool(np.isin(clip.labels(i), clip.object_ids).any()) for i in range(len(clip))]
    assert len(clip) == 42
    assert all(visible[:10])
    assert not any(visible[10 + 8 : 30])
    assert all(visible[30 + 8 :])


def test_distractors_have_no_label_and_stay():
    clip = ReturnClip(3, "distractor", 20, before=10, after=12, size=SIZE)
    alone = ReturnClip(3, "leave", 20, before=10, after=12, size=SIZE)
    gone = 25
    assert not clip.labels(gone).any()
    assert not np.array_equal(clip.frame(gone)[0], alone.frame(gone)[0])
    assert clip.object_ids == alone.object_ids


@pytest.mark.parametrize("event", EVENTS)
def test_a_frame_is_the_same_whenever_it_is_read(event):
    one, other = (ReturnClip(4, event, 20, before=4, after=4, size=SIZE) for _ in range(2))
    frame, labels = one.frame(15)
    for index in (3, 20, 15):
        again, same = other.frame(index)
    assert np.array_equal(frame, again)
    assert np.array_equal(labels, same)
    assert np.array_equal(labels, one.labels(15))


def test_values_out_of_range_are_refused():
    with pytest.raises(InputError, match="event must be one of leave, lookalike"):
        ReturnClip(1, "explode", 20)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="absence must be at least 10 frames"):
        ReturnClip(1, "leave", 3)
    with pytest.raises(InputError, match="split must be one of quick, full"):
        open_returns("huge")
    for name in ("leave", "leave-x-3", "explode-50-3"):
        with pytest.raises(InputError, match="is not EVENT-ABSENCE-SEED"):
            open_returns(only=[name])


def test_absences_lie_between_visible_frames_after_the_prompt():
    text = "0011100000111000001111000011000"
    visible = [c == "1" for c in text]
    assert find_absences(visible, 2) == [(5, 10), (13, 18)]
    assert find_absences(visible, 11) == [(13, 18)]
    assert find_absences([True] * 4, 0) == []


def test_scores_of_a_return_worked_out_by_hand():
    item = {
        "prompt_frame": 10,
        "frames": list(range(10, 30)),
        "visible": [1] * 4 + [0] * 6 + [1] * 10,
        "J": [1, 0.8, 0.6, 1.0, 1, 1, 0, 0, 1, 1, 0, 0.2, 0.4, 0.6, *([0.8] * 6)],
        "F": [1, 0.6, 0.4, 0.6, 1, 1, 0, 0, 1, 1, 0, 0.2, 0.4, 0.6, *([0.8] * 6)],
        "on_other": [0] * 6 + [1, 1, 0, 0] + [1, 0] + [0] * 8,
    }
    (found,) = score_returns(item)
    assert (found["first"], found["last"], found["frames"]) == (14, 19, 6)
    assert found["before"] == pytest.approx((0.7 + 0.5 + 0.8) / 3)
    assert found["false_masks"] == pytest.approx(2 / 6)
    assert found["early"] == found["after"] == pytest.approx((0.2 + 0.4 + 0.6 + 4.8) / 10)
    assert (found["frames_to_recover"], found["recovered"], found["switches"]) == (3, True, 2)
    lost = {**item, "J": [0] * 20}
    assert score_returns(lost)[0]["frames_to_recover"] == 10
    together = summarize_returns([found, *score_returns(lost)])
    assert (together["absences"], together["recovered"]) == (2, 1)
    assert together["frames_to_recover"] == 6.5
    assert len(together["course"]) == 10
    assert summarize_returns([])["early"] is None


def test_a_prediction_on_another_object_is_noticed():
    truth = np.zeros((8, 8), np.uint8)
    truth[:4], truth[4:] = 1, 2
    masks = {1: truth == 2, 2: truth == 2}
    scores = score_frame(masks, truth, {1: 1, 2: 2})
    assert [scores.objects[i].on_other for i in (1, 2)] == [True, False]
    assert not score_frame({}, truth, {1: 1}).objects[1].on_other


def test_policies_stand_side_by_side_in_the_report(a_spec, tmp_path):
    specs = [
        ModelSpec(
            a_spec.model, a_spec.config, device="cpu", tracking=TrackingOptions(memory=memory)
        )
        for memory in ("efp", "reliable")
    ]
    results = evaluate(
        None, protocol="returns", sequences=["blackout-10-3"], models=specs, prompts=["mask"],
        baselines=["copy"],
    )  # fmt: skip
    names = [run["name"] for run in results["runs"]]
    assert names == ["strong, 128, EFP", "strong, 128, EFP, memory reliable", "first mask copied"]
    settings = ["efp", "reliable, presence 0.5, IoU 0.5", None]
    assert [run.get("memory") for run in results["runs"]] == settings
    for run in results["runs"]:
        (group,) = run["returns"]["groups"]
        assert (group["event"], group["absence"]) == ("blackout", 10)
        assert group["absences"] == run["returns"]["overall"]["absences"] > 0
    copied = results["runs"][2]["returns"]["overall"]
    assert copied["false_masks"] == 1
    page = render_html(results)
    check_page(page)
    assert "<h2>Returns after an absence" in page
    assert "returns after an absence" in summary_text(results)
    json.loads(write_report(results, tmp_path)["json"].read_text())


def test_a_dataset_is_needed_except_for_returns(tmp_path):
    with pytest.raises(InputError, match="protocol returns needs no dataset, got"):
        evaluate(tmp_path, protocol="returns", models=[])
    with pytest.raises(InputError, match="protocol vos needs a dataset folder, got None"):
        evaluate(None, models=[])
