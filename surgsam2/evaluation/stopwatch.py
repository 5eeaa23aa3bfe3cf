"""What a run cost: time per frame and the most memory seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from surgsam2.evaluation.memory import resident_mb
from surgsam2.results import FrameResult

WARM_UP = 5
"""Frames at the start of each sequence that do not count in the speed."""


class Stopwatch:
    """Gathers the times that results carry; reading frames and scoring are not in them."""

    def __init__(self) -> None:
        self._milliseconds: list[float] = []
        self._early: list[float] = []
        self._peak_mb = 0.0

    def sequence(self, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Pass on the results of one sequence, noting the time of each."""
        for count, result in enumerate(results):
            times = self._milliseconds if count >= WARM_UP else self._early
            times.append(result.milliseconds)
            self._peak_mb = max(self._peak_mb, resident_mb())
            yield result

    def record(self, gpu_mb: float | None = None) -> dict[str, Any]:
        """FPS and times after the warm-up (over everything where all sequences are shorter).

        gpu_mb: peak memory of the GPU, given instead of that of the process.
        """
        times = np.asarray(self._milliseconds or self._early or [np.nan])
        total = float(times.sum())
        known = np.isfinite(total) and total > 0
        return {
            "fps": 1000 * len(times) / total if known else None,
            "median_ms": float(np.median(times)) if known else None,
            "p95_ms": float(np.percentile(times, 95)) if known else None,
            "frames": len(times) if known else 0,
            "warm_up_frames": WARM_UP if self._milliseconds else 0,
            "peak_memory_mb": self._peak_mb or None if gpu_mb is None else gpu_mb,
            "memory_of": "process" if gpu_mb is None else "GPU",
        }
