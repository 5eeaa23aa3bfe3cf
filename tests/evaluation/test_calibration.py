"""Statistics of the model's estimates equal values worked out by hand or by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgsam2.evaluation.metrics import MaskScores
from surgsam2.evaluation.metrics.calibration import (
    OracleGap,
    assess_estimates,
    auroc,
    iou_calibration,
    presence_quality,
)
from surgsam2.evaluation.metrics.scores import ObjectScores


def test_a_calibrated_model_has_no_error():
    values = [0.05, 0.5, 0.95, 1.0]
    result = iou_calibration(values, values)
    assert result["mean_absolute_error"] == result["bias"] == 0
    assert result["expected_calibration_error"] == 0
    assert result["correlation"] == pytest.approx(1)
    assert sum(b["frames"] for b in result["bins"]) == 4


def test_over_confidence_is_a_positive_bias():
    result = iou_calibration([0.9, 0.9, 0.3], [0.5, 0.7, 0.3])
    assert result["bias"] == pytest.approx(0.2)
    assert result["expected_calibration_error"] == pytest.approx(2 / 3 * 0.3)
    assert result["root_mean_square_error"] == pytest.approx(np.sqrt((0.16 + 0.04) / 3))


def test_unknown_estimates_are_left_out():
    assert iou_calibration([float("nan")], [0.5]) == {"frames": 0, "bins": []}
    assert iou_calibration([0.5], [0.5])["correlation"] is None


def test_presence_worked_out_by_hand():
    result = presence_quality([0.9, 0.8, 0.4, 0.6, 0.1], [True, True, True, False, False])
    assert result["precision"] == pytest.approx(2 / 3)
    assert result["recall"] == pytest.approx(2 / 3)
    assert result["hidden_precision"] == result["hidden_recall"] == 0.5
    assert result["auroc"] == pytest.approx(5 / 6)


def test_presence_of_an_object_that_never_hides():
    result = presence_quality([0.9, 0.8], [True, True])
    assert (result["auroc"], result["hidden_precision"], result["recall"]) == (None, None, 1)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.5001, 1.0]), st.booleans()), max_size=20)
)
def test_auroc_equals_the_share_of_ordered_pairs(pairs):
    score = np.array([s for s, _ in pairs])
    positive = np.array([p for _, p in pairs], bool)
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0 for a, p in pairs if p for b, q in pairs if not q
    ]
    found = auroc(score, positive)
    assert (found is None) == (not wins)
    if wins:
        assert found == pytest.approx(np.mean(wins))


def test_oracle_gap():
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    gap = OracleGap()
    gap.add(np.stack([truth, ~truth]), [0.2, 0.9], truth)
    gap.add(np.stack([truth, ~truth]), [0.9, 0.2], truth)
    assert gap.result() == {"prompts": 2, "chosen_j": 0.5, "oracle_j": 1.0, "gap": 0.5}


def test_prompted_and_empty_frames_are_not_judged():
    scores = ObjectScores("s", 1, prompt_frame=0)
    rows = [(0, True, True, 1.0), (1, True, True, 0.5), (2, False, False, 1.0)]
    for frame, visible, predicted, j in rows:
        scores.add(
            frame, MaskScores(j, j, j), visible=visible, predicted=predicted,
            iou_score=0.6, presence=0.9,
        )  # fmt: skip
    result = assess_estimates([scores])
    assert result is not None
    assert result["predicted_iou"]["frames"] == 1
    assert result["predicted_iou"]["bias"] == pytest.approx(0.1)
    assert result["presence"]["frames"] == 2
    assert assess_estimates([ObjectScores("s", 1)]) is None
