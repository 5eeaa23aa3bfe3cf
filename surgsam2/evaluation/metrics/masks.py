"""Accuracy of masks: J, F, Dice, and the IoUs of the EndoVis instrument benchmarks.

The functions take masks and return numbers; none of them reads a file, a video or a
model. Names and edge cases are those of the tools that published results come from, so
that numbers from here can be compared with published ones:

* J and F: the DAVIS benchmark (Perazzi et al., CVPR 2016; davis2017-evaluation).
* Challenge IoU, ISI IoU, mean class IoU: Allan et al., arXiv 1902.06426, and
  Gonzalez et al. (ISINet), arXiv 2007.05533.

All scores are in 0..1; reports multiply by 100.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from surgsam2.errors import InputError

BOUNDARY_TOLERANCE = 0.008
"""Distance within which boundaries match, as a fraction of the image diagonal."""


@dataclass(frozen=True)
class MaskScores:
    """Scores of one predicted mask, each in 0..1."""

    j: float
    f: float
    dice: float


def region_similarity(pred: np.ndarray, truth: np.ndarray) -> float:
    """Return J, the intersection over union of two (H, W) bool masks; 1 when both are empty.

    Raises:
        InputError: The masks are not two (H, W) arrays of the same size.
    """
    pred, truth = _pair(pred, truth)
    intersection = int(np.count_nonzero(pred & truth))
    union = int(np.count_nonzero(pred | truth))
    return intersection / union if union else 1.0


def boundary_accuracy(
    pred: np.ndarray, truth: np.ndarray, *, tolerance: float = BOUNDARY_TOLERANCE
) -> float:
    """Return F, the harmonic mean of boundary precision and recall of two (H, W) bool masks.

    A boundary pixel matches when the other mask has a boundary pixel within
    `tolerance` times the image diagonal, rounded up to whole pixels (Euclidean,
    inclusive); a `tolerance` of 1 or more is taken as pixels. Where one mask has
    no boundary, its precision (or recall) counts as 1 and the other as 0, so F is
    0; where neither has one, F is 1. A mask that covers the whole image has no
    boundary, because the image's border is not one (see `boundary_map`).

    Raises:
        InputError: The masks differ in size, or `tolerance` is not above 0.
    """
    pred, truth = _pair(pred, truth)
    radius = tolerance_in_pixels(pred.shape, tolerance)
    window = _window(pred, truth)
    if window is None:
        return 1.0
    return _boundary_f(boundary_map(pred[window]), boundary_map(truth[window]), radius)


def dice(pred: np.ndarray, truth: np.ndarray) -> float:
    """Return Dice, twice the intersection over the sum of areas; 1 when both are empty.

    Raises:
        InputError: The masks are not two (H, W) arrays of the same size.
    """
    pred, truth = _pair(pred, truth)
    intersection = int(np.count_nonzero(pred & truth))
    total = int(np.count_nonzero(pred)) + int(np.count_nonzero(truth))
    return 2 * intersection / total if total else 1.0


def score_mask(
    pred: np.ndarray, truth: np.ndarray, *, tolerance: float = BOUNDARY_TOLERANCE
) -> MaskScores:
    """Compute J, F and Dice in one pass over the part of the image where either mask is.

    The values equal those of the three functions; for small objects this is several times
    faster.
    """
    pred, truth = _pair(pred, truth)
    window = _window(pred, truth)
    if window is None:
        return MaskScores(1.0, 1.0, 1.0)
    radius = tolerance_in_pixels(pred.shape, tolerance)
    pred, truth = pred[window], truth[window]
    intersection = int(np.count_nonzero(pred & truth))
    total = int(np.count_nonzero(pred)) + int(np.count_nonzero(truth))
    return MaskScores(
        j=intersection / (total - intersection),
        f=_boundary_f(boundary_map(pred), boundary_map(truth), radius),
        dice=2 * intersection / total,
    )


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Return the one-pixel boundary of an (H, W) bool mask, as (H, W) bool.

    A pixel is a boundary pixel when its right, lower or lower-right neighbour
    differs from it: the boundary lies half a pixel towards the origin. The last
    row looks only right, the last column only down, and the last pixel is never
    one, so an object cut off by the image's border has no boundary along it.
    """
    boundary = np.zeros(mask.shape, dtype=np.bool_)
    here = mask[:-1, :-1]
    boundary[:-1, :-1] = here ^ mask[:-1, 1:]
    boundary[:-1, :-1] |= here ^ mask[1:, :-1]
    boundary[:-1, :-1] |= here ^ mask[1:, 1:]
    boundary[-1, :-1] = mask[-1, :-1] ^ mask[-1, 1:]
    boundary[:-1, -1] = mask[:-1, -1] ^ mask[1:, -1]
    return boundary


def tolerance_in_pixels(shape: tuple[int, ...], tolerance: float = BOUNDARY_TOLERANCE) -> int:
    """Return the radius in pixels within which boundaries match, for an image of `shape` (H, W).

    Raises:
        InputError: `tolerance` is not above 0.
    """
    if not tolerance > 0:
        raise InputError(f"tolerance must be greater than 0, got {tolerance}")
    if tolerance >= 1:
        return math.floor(tolerance)
    # The reference tool uses np.linalg.norm. Another way to take the root may round to the
    # other side of a whole number.
    return math.ceil(tolerance * float(np.linalg.norm(shape[:2])))


def class_ious(pred: np.ndarray, truth: np.ndarray) -> dict[int, tuple[float, bool]]:
    """Compute the IoU of every class of one frame.

    Args:
        pred: (H, W) integer map of predicted classes; 0 is background.
        truth: (H, W) integer map of true classes; 0 is background.

    Returns:
        Class -> (IoU, whether the class is in the truth). A class that is in neither map
        is left out.

    Raises:
        InputError: The maps differ in size.
    """
    if pred.shape != truth.shape:
        raise InputError(f"prediction {pred.shape} and truth {truth.shape} differ in size")
    if pred.size == 0:
        return {}
    # Few pairs of labels occur in a frame, so pairs are counted instead of classes one by one.
    width = int(max(pred.max(), truth.max())) + 1
    if width <= 512:
        joint = pred.astype(np.int32) * width + truth
        counts = np.bincount(joint.ravel(), minlength=width * width).reshape(width, width)
        codes = np.nonzero(counts.sum(0) + counts.sum(1))[0]
        counts = counts[np.ix_(codes, codes)]
    else:
        codes, inverse = np.unique(np.stack([pred, truth]), return_inverse=True)
        inverse = inverse.reshape(2, -1)
        size = len(codes)
        counts = np.bincount(inverse[0] * size + inverse[1], minlength=size * size)
        counts = counts.reshape(size, size)
    in_pred, in_truth, both = counts.sum(1), counts.sum(0), counts.diagonal()
    return {
        int(code): (int(both[i]) / int(in_pred[i] + in_truth[i] - both[i]), bool(in_truth[i]))
        for i, code in enumerate(codes)
        if code != 0
    }


@dataclass
class ClassIoU:
    """Accumulator of the three IoUs of the EndoVis instrument benchmarks.

    * Challenge IoU: per frame, the mean IoU of the classes present in the truth;
      then the mean over frames. Frames whose truth is empty do not count.
    * ISI IoU: per frame, the mean IoU of the classes present in truth or
      prediction, so a class predicted where there is none counts 0; then the mean
      over frames. Frames empty in both do not count.
    * Mean class IoU: per class, the mean IoU over the frames where it is present in
      truth or prediction; then the mean over classes.

    These are the rules of ISINet's evaluation as it is used by later work; a frame
    in which nothing is predicted scores 0 for each class of its truth.
    """

    frames: int = 0
    _challenge: list[float] = field(default_factory=list, repr=False)
    _isi: list[float] = field(default_factory=list, repr=False)
    _classes: dict[int, list[float]] = field(default_factory=dict, repr=False)

    def add(self, ious: dict[int, tuple[float, bool]]) -> None:
        """Count one frame. `ious` is what `class_ious` returns."""
        self.frames += 1
        in_truth = [iou for iou, present in ious.values() if present]
        if in_truth:
            self._challenge.append(math.fsum(in_truth) / len(in_truth))
        if ious:
            self._isi.append(math.fsum(iou for iou, _ in ious.values()) / len(ious))
        for code, (iou, _) in ious.items():
            self._classes.setdefault(code, []).append(iou)

    def merge(self, other: ClassIoU) -> None:
        """Count all frames of `other` as well."""
        self.frames += other.frames
        self._challenge += other._challenge
        self._isi += other._isi
        for code, values in other._classes.items():
            self._classes.setdefault(code, []).extend(values)

    @property
    def challenge_iou(self) -> float | None:
        """Challenge IoU, the mean over frames; None when no frame's truth has a class."""
        return mean(self._challenge)

    @property
    def isi_iou(self) -> float | None:
        """ISI IoU, the mean over frames; None when all frames are empty in both maps."""
        return mean(self._isi)

    @property
    def per_class(self) -> dict[int, float]:
        """Class -> mean IoU over the frames where truth or prediction has the class."""
        return {
            code: math.fsum(values) / len(values) for code, values in sorted(self._classes.items())
        }

    @property
    def mean_class_iou(self) -> float | None:
        """Mean of `per_class`; None when there is no class."""
        return mean(list(self.per_class.values()))


def mean(values: list[float]) -> float | None:
    """Return the arithmetic mean, or None when there are no values."""
    return math.fsum(values) / len(values) if values else None


def _pair(pred: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pred, truth = np.asarray(pred), np.asarray(truth)
    if pred.ndim != 2 or pred.shape != truth.shape:
        raise InputError(
            f"masks must be two (H, W) arrays of the same size, got {pred.shape} and {truth.shape}"
        )
    return pred.astype(np.bool_, copy=False), truth.astype(np.bool_, copy=False)


def _window(pred: np.ndarray, truth: np.ndarray) -> tuple[slice, slice] | None:
    """Return the smallest part of the image with both masks and one pixel around them.

    Boundary pixels are the same in this part as in the whole image, because the margin
    holds the neighbours of the masks and is missing only at the image's border. The
    result is None when both masks are empty.
    """
    either = (pred | truth).view(np.uint8)
    if either.size == 0:
        return None
    x, y, w, h = cv2.boundingRect(either)
    if w == 0:
        return None
    return slice(max(y - 1, 0), y + h + 1), slice(max(x - 1, 0), x + w + 1)


def _boundary_f(pred: np.ndarray, truth: np.ndarray, radius: int) -> float:
    n_pred, n_truth = int(np.count_nonzero(pred)), int(np.count_nonzero(truth))
    if n_pred == 0 or n_truth == 0:
        return 1.0 if n_pred == n_truth else 0.0
    disk = _disk(radius)
    near_truth = cv2.dilate(truth.view(np.uint8), disk).view(np.bool_)
    near_pred = cv2.dilate(pred.view(np.uint8), disk).view(np.bool_)
    precision = int(np.count_nonzero(pred & near_truth)) / n_pred
    recall = int(np.count_nonzero(truth & near_pred)) / n_truth
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@lru_cache(maxsize=16)
def _disk(radius: int) -> np.ndarray:
    """Return a disk of all offsets within `radius` pixels (Euclidean, inclusive)."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)
