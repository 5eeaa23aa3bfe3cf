"""How much memory was in use at most: by this process, and on the GPU a model runs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What makes Linux count the peak from now on: proc(5), clear_refs."""


class ProcessPeak:
    """The most memory this process had in use since this object was made.

    All of it: what was loaded before counts too. Linux only; None elsewhere, where a
    peak cannot be taken from now on.
    """

    def __init__(self) -> None:
        try:
            CLEAR_REFS.write_text(RESET_PEAK, encoding="ascii")
        except OSError:
            self._before = None
        else:
            self._before = _status_mb("VmRSS")

    def peak_mb(self) -> float | None:
        """The peak in MiB."""
        return None if self._before is None else _status_mb("VmHWM")

    def growth_mb(self) -> float | None:
        """By how much the peak exceeds what was in use at the start, in MiB."""
        peak = self.peak_mb()
        return None if peak is None or self._before is None else max(0.0, peak - self._before)


def _status_mb(key: str) -> float | None:
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(f"{key}:")]
    return int(found[0][1]) / 1024 if found else None  # kB


def reset_gpu_peak(model: SurgSAM2Model) -> None:
    """Let `gpu_peak_mb` count from here; nothing without a GPU."""
    if model.device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(model.device)


def gpu_peak_mb(model: SurgSAM2Model) -> float | None:
    """The most memory that tensors had on the model's GPU; None where it runs without one."""
    if model.device.type != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated(model.device) / 2**20
