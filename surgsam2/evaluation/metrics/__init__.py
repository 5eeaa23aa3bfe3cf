"""Accuracy of masks as the field measures it: J, F, Dice and the EndoVis class IoUs.

The functions for single masks are available from this package directly. Scores of
whole sequences, averaging conventions and the calibration of a model's own estimates
have modules of their own. All of it needs only numpy and OpenCV.
"""

from __future__ import annotations

from surgsam2.evaluation.metrics.masks import (
    BOUNDARY_TOLERANCE,
    ClassIoU,
    MaskScores,
    boundary_accuracy,
    boundary_map,
    class_ious,
    dice,
    mean,
    region_similarity,
    score_mask,
    tolerance_in_pixels,
)

__all__ = [
    "BOUNDARY_TOLERANCE",
    "ClassIoU",
    "MaskScores",
    "boundary_accuracy",
    "boundary_map",
    "class_ious",
    "dice",
    "mean",
    "region_similarity",
    "score_mask",
    "tolerance_in_pixels",
]
