"""The rate and the latency of a live session."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

WINDOW = 200
"""Number of the last pictures that rate and latency are computed from."""


@dataclass(frozen=True)
class LiveStatistics:
    """Statistics of a live session.

    Attributes:
        received: number of pictures that the source has shown.
        segmented: number of pictures that were segmented and shown.
        dropped: number of pictures that were replaced by a newer one before they were
            segmented.
        waiting: number of pictures that are being segmented or come next; at most three.
        fps: segmented pictures per second, over the last ones; 0 before there are two.
        latencyMedian: median of the milliseconds from the event of an image to its masks in
            the scene; NaN before the first.
        latencyP95: 95th percentile of the same.
    """

    received: int
    segmented: int
    dropped: int
    waiting: int
    fps: float
    latencyMedian: float
    latencyP95: float


class LiveMeter:
    """Collects the times of a session's pictures."""

    def __init__(self) -> None:
        self.shown = 0
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._times: deque[float] = deque(maxlen=WINDOW)

    def note(self, stamp: float, now: float) -> None:
        """Add a picture that was announced at `stamp` seconds and is segmented at `now`."""
        self.shown += 1
        self._latencies.append(1000 * (now - stamp))
        self._times.append(now)

    def statistics(self, received: int, waiting: int) -> LiveStatistics:
        """Return the statistics, given how many pictures came and how many are waiting."""
        latencies = np.array(self._latencies or [np.nan])
        seconds = self._times[-1] - self._times[0] if self._times else 0.0
        return LiveStatistics(
            received=received,
            segmented=self.shown,
            dropped=received - self.shown - waiting,
            waiting=waiting,
            fps=(len(self._times) - 1) / seconds if seconds > 0 else 0.0,
            latencyMedian=float(np.median(latencies)),
            latencyP95=float(np.percentile(latencies, 95)),
        )
