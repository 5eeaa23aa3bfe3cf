"""Cost of a run: time per frame and peak memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.results.frame_result import FrameResult

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model

WARM_UP = 5
"""Number of frames at the start of each sequence that do not count in the speed."""

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Value that makes Linux restart the count of the peak; see proc(5), clear_refs."""


class ProcessPeak:
    """Peak memory of this process since this object was made, as the Linux kernel counts it.

    The peak includes everything that was loaded before. On other systems the figures are
    None, because a peak cannot be restarted there. (psutil does not serve here: it reads
    the current memory but neither the kernel's peak nor restarts it.)
    """

    def __init__(self) -> None:
        try:
            CLEAR_REFS.write_text(RESET_PEAK, encoding="ascii")
        except OSError:
            self._before = None
        else:
            self._before = _status_mb("VmRSS")

    def peak_mb(self) -> float | None:
        """Return the peak in MiB."""
        return None if self._before is None else _status_mb("VmHWM")

    def growth_mb(self) -> float | None:
        """Return by how many MiB the peak exceeds the memory in use at the start."""
        peak = self.peak_mb()
        return None if peak is None or self._before is None else max(0.0, peak - self._before)


class Stopwatch:
    """Accumulator of the tracking times that results carry, and of peak memory.

    Reading frames and scoring are not part of these times.
    """

    def __init__(self) -> None:
        self._milliseconds: list[float] = []
        self._warm_up: list[float] = []
        self._memory = ProcessPeak()

    def sequence(self, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Yield the results of one sequence unchanged and note the time of each."""
        for count, result in enumerate(results):
            times = self._milliseconds if count >= WARM_UP else self._warm_up
            times.append(result.milliseconds)
            yield result

    def record(self, gpu_mb: float | None = None) -> dict[str, Any]:
        """Return frames per second, times and memory as plain data.

        The frames of the warm-up count only where all sequences are shorter than it.

        Args:
            gpu_mb: Peak memory of the GPU in MiB, which then stands instead of the peak of
                the process.
        """
        times = np.asarray(self._milliseconds or self._warm_up or [np.nan])
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


def reset_gpu_peak(model: SurgSAM2Model) -> None:
    """Restart the count of `gpu_peak_mb`. Without a GPU this does nothing."""
    if model.device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(model.device)


def gpu_peak_mb(model: SurgSAM2Model) -> float | None:
    """Return the peak memory of tensors on the model's GPU in MiB; None without a GPU."""
    if model.device.type != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated(model.device) / 2**20


def _status_mb(key: str) -> float | None:
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(f"{key}:")]
    return int(found[0][1]) / 1024 if found else None  # The kernel writes kB.
