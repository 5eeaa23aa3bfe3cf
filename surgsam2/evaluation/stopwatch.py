"""What a run cost: time per frame and the most memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from surgsam2.evaluation.memory import ProcessPeak
from surgsam2.results.frame_result import FrameResult

WARM_UP = 5
"""Frames at the start of each sequence that do not count in the speed."""


class Stopwatch:
    """Gathers the times that results carry; reading frames and scoring are not in them."""

    def __init__(self) -> None:
        self._milliseconds: list[float] = []
        self._early: list[float] = []
        self._memory = ProcessPeak()

    def sequence(self, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Pass on the results of one sequence, noting the time of each."""
        for count, result in enumerate(results):
            times = self._milliseconds if count >= WARM_UP else self._early
            times.append(result.milliseconds)
            yield result

    def record(self, gpu_mb: float | None = None) -> dict[str, Any]:
        """FPS and times after the warm-up (over everything where all sequences are shorter).

        gpu_mb: peak memory of the GPU, given instead of that of the process since this
        object was made.
        """
        times = np.asarray(self._milliseconds or self._early or [np.nan])
        total = float(times.sum())
        known = np.isfinite(total) and total > 0
        peak = self._memory.peak_mb() if gpu_mb is None else gpu_mb
        return {
            "fps": 1000 * len(times) / total if known else None,
            "median_ms": float(np.median(times)) if known else None,
            "p95_ms": float(np.percentile(times, 95)) if known else None,
            "frames": len(times) if known else 0,
            "warm_up_frames": WARM_UP if self._milliseconds else 0,
            "peak_memory_mb": peak,
            "memory_growth_mb": self._memory.growth_mb() if gpu_mb is None else None,
            "memory_of": None if peak is None else "process" if gpu_mb is None else "GPU",
        }
