"""How fast a live session is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

WINDOW = 200
"""Pictures that latency and rate are taken from."""


@dataclass(frozen=True)
class LiveStatistics:
    """Of a live session so far."""

    received: int
    """Pictures that the source has shown."""
    segmented: int
    """Of these, segmented and shown."""
    dropped: int
    """Of these, passed over for a newer one, since it came before there was time."""
    waiting: int
    """Of these, being segmented or next; never more than three."""
    fps: float
    """Segmented pictures a second, lately; 0 before there are two."""
    latencyMedian: float
    """Milliseconds from the image's event to its segments in the scene; NaN before the first."""
    latencyP95: float
    """Of twenty pictures, nineteen were quicker than this many milliseconds."""


class LiveMeter:
    """Collects the times of a session."""

    def __init__(self) -> None:
        self.shown = 0
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._times: deque[float] = deque(maxlen=WINDOW)

    def note(self, stamp: float, now: float) -> None:
        """A picture announced at `stamp` seconds has its segments at `now`."""
        self.shown += 1
        self._latencies.append(1000 * (now - stamp))
        self._times.append(now)

    def statistics(self, received: int, waiting: int) -> LiveStatistics:
        """Everything, given how many pictures came and how many wait or are being segmented."""
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
