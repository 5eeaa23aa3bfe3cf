"""Calibration of the model's own estimates, predicted IoU and presence, against the truth.

Every function returns a dictionary that can be written as JSON. A value that is not
defined is None, for example AUROC when an object is visible on every frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from surgsam2.evaluation.metrics import mean, region_similarity
from surgsam2.evaluation.metrics.scores import ObjectScores


def iou_calibration(
    predicted: Sequence[float], actual: Sequence[float], *, bins: int = 10
) -> dict[str, Any]:
    """Compare predicted with actual IoU, both in 0..1; pairs with a NaN are left out.

    Returns:
        `frames`; `bias`, the mean of predicted minus actual, which is above 0 for an
        over-confident model; `mean_absolute_error`; `root_mean_square_error`; the Pearson
        `correlation`; `expected_calibration_error`, the mean distance between average
        prediction and average truth over equal-width bins of the prediction, weighted by
        their counts; and `bins`, the bins that are not empty, for a reliability plot.
    """
    p, a = np.asarray(predicted, np.float64), np.asarray(actual, np.float64)
    known = np.isfinite(p) & np.isfinite(a)
    p, a = p[known], a[known]
    if len(p) == 0:
        return {"frames": 0, "bins": []}
    slot = np.clip((p * bins).astype(int), 0, bins - 1)
    table = []
    for i in range(bins):
        members = slot == i
        if members.any():
            table.append(
                {
                    "low": i / bins,
                    "high": (i + 1) / bins,
                    "frames": int(members.sum()),
                    "predicted": float(p[members].mean()),
                    "actual": float(a[members].mean()),
                }
            )
    varies = len(p) > 1 and float(p.std()) > 1e-12 and float(a.std()) > 1e-12
    error = p - a
    return {
        "frames": len(p),
        "bias": float(error.mean()),
        "mean_absolute_error": float(np.abs(error).mean()),
        "root_mean_square_error": float(math.sqrt((error**2).mean())),
        "correlation": float(np.corrcoef(p, a)[0, 1]) if varies else None,
        "expected_calibration_error": math.fsum(
            b["frames"] * abs(b["predicted"] - b["actual"]) for b in table
        )
        / len(p),
        "bins": table,
    }


def presence_quality(
    probability: Sequence[float], visible: Sequence[bool], *, threshold: float = 0.5
) -> dict[str, Any]:
    """Measure how well the presence estimate separates visible from hidden frames.

    Returns:
        `precision` and `recall` of "visible" at `threshold`; `hidden_precision` and
        `hidden_recall` of "hidden", which is the rarer event; and `auroc`, the probability
        that a visible frame has a higher presence than a hidden one (ties count half).
    """
    p, v = np.asarray(probability, np.float64), np.asarray(visible, np.bool_)
    known = np.isfinite(p)
    p, v = p[known], v[known]
    said = p >= threshold

    def ratio(part: np.ndarray, whole: np.ndarray) -> float | None:
        return float((part & whole).sum() / whole.sum()) if whole.any() else None

    return {
        "frames": len(p),
        "visible": int(v.sum()),
        "precision": ratio(v, said),
        "recall": ratio(said, v),
        "hidden_precision": ratio(~v, ~said),
        "hidden_recall": ratio(~said, ~v),
        "auroc": auroc(p, v),
    }


def auroc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """Return the area under the ROC curve, computed from ranks; None unless both kinds occur.

    Args:
        score: (N,) numbers.
        positive: (N,) bool.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return None
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2)[inverse]  # Tied scores share their mean rank.
    above = float(rank[positive].sum()) - n_positive * (n_positive + 1) / 2
    return above / (n_positive * n_negative)


@dataclass
class OracleGap:
    """Comparison of the chosen mask with the best one, where a model offers several."""

    chosen: list[float] = field(default_factory=list)
    """J of the mask with the highest predicted IoU, one entry per prompt."""
    oracle: list[float] = field(default_factory=list)
    """J of the mask that is best in truth, one entry per prompt."""

    def add(self, masks: np.ndarray, scores: Sequence[float], truth: np.ndarray) -> None:
        """Count one prompt.

        Args:
            masks: (M, H, W) bool, the masks the model offers.
            scores: Their M predicted IoUs.
            truth: (H, W) bool.
        """
        j = [region_similarity(mask, truth) for mask in masks]
        self.chosen.append(j[int(np.argmax(scores))])
        self.oracle.append(max(j))

    def result(self) -> dict[str, Any]:
        """Return the mean J of the chosen and of the best masks, and the gap between them."""
        chosen, oracle = mean(self.chosen), mean(self.oracle)
        gap = None if chosen is None or oracle is None else oracle - chosen
        return {"prompts": len(self.chosen), "chosen_j": chosen, "oracle_j": oracle, "gap": gap}


def assess_estimates(objects: Iterable[ObjectScores]) -> dict[str, Any] | None:
    """Assess both estimates over the frames after each object's prompt.

    The predicted IoU is compared where truth or prediction has the object. On other
    frames an IoU is not defined; that J counts as 1 there is a convention.

    Returns:
        `predicted_iou` (see `iou_calibration`) and `presence` (see `presence_quality`), or
        None when there are no estimates.
    """
    predicted: list[float] = []
    actual: list[float] = []
    probability: list[float] = []
    visible: list[bool] = []
    for scores in objects:
        for i, frame in enumerate(scores.frames):
            if scores.prompt_frame is not None and frame <= scores.prompt_frame:
                continue
            probability.append(scores.presence[i])
            visible.append(scores.visible[i])
            if scores.visible[i] or scores.predicted[i]:
                predicted.append(scores.iou_scores[i])
                actual.append(scores.j[i])
    if not np.isfinite(np.asarray(predicted + probability, np.float64)).any():
        return None
    return {
        "predicted_iou": iou_calibration(predicted, actual),
        "presence": presence_quality(probability, visible),
    }
