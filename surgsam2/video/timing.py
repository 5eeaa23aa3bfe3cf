"""The frame rate of a video by the times of its frames, and frames that are missing among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_REGULAR_SHARE = 0.9
"""Share of intervals that are alike in a video of constant rate."""
_TOLERANCE = 0.1
"""Largest relative difference of intervals that are alike. Some files round times to milliseconds,
of which an interval at 60 frames per second has 16 or 17."""


@dataclass(frozen=True)
class Timing:
    """The rate of a video's frames."""

    rate: float | None
    """Frames per second; None if the times do not tell it."""
    gaps: int = 0
    """Number of places at which frames are missing."""
    missing: int = 0
    """Number of frames that are missing there."""
    first_gap: int = -1
    """Index of the frame before the first gap; -1 without a gap."""


def timing_of(times: np.ndarray, nominal: float) -> Timing:
    """Find the rate of frames and the gaps between them.

    Args:
        times: presentation time of each frame in seconds, ascending, (n,) float64.
        nominal: the rate that the file declares, in frames per second; 0.0 for none.

    Returns:
        The nominal rate if it is within 1 % of the true one, because it is free of the rounding
        of times. In a video of varying rate the true one is the mean, and there are no gaps.
    """
    intervals = np.diff(times)
    if not len(intervals) or times[-1] <= times[0]:
        return Timing(nominal or None)
    mean = len(intervals) / float(times[-1] - times[0])
    period = float(np.median(intervals))
    alike = np.abs(intervals - period) <= _TOLERANCE * period
    if alike.mean() < _REGULAR_SHARE:
        return Timing(_nominal_or(mean, nominal))
    rate = _nominal_or(1 / float(intervals[alike].mean()), nominal)
    steps = np.rint(intervals * rate).astype(np.int64)
    gaps = np.flatnonzero(steps > 1)
    if not len(gaps):
        return Timing(_nominal_or(mean, nominal))
    return Timing(rate, len(gaps), int((steps[gaps] - 1).sum()), int(gaps[0]))


def is_regular(times: np.ndarray, fps: float) -> bool:
    """Return whether frames are shown at a constant rate, to within half a frame.

    Args:
        times: presentation time of each frame in seconds, ascending, (n,) float64.
        fps: frames per second.
    """
    if not len(times) or fps <= 0:
        return True
    drift = np.abs(times - times[0] - np.arange(len(times)) / fps)
    return bool(drift.max() <= 0.5 / fps)


def _nominal_or(measured: float, nominal: float) -> float:
    return nominal if nominal and abs(measured / nominal - 1) <= 0.01 else measured
