"""How much memory is in use: of this process, and of the GPU that a model runs on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model


def resident_mb() -> float:
    """Memory of this process now (its highest so far on macOS); 0 where nobody tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return _highest_resident_mb()
    import resource

    return pages * resource.getpagesize() / 2**20


def _highest_resident_mb() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (2**20 if platform.system() == "Darwin" else 2**10)


def reset_gpu_peak(model: SurgSAM2Model) -> None:
    """Let `gpu_peak_mb` count from here; nothing without a GPU."""
    if model.device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(model.device)


def gpu_peak_mb(model: SurgSAM2Model) -> float | None:
    """The most memory the model's GPU had in use; None where it runs without one."""
    if model.device.type != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated(model.device) / 2**20
