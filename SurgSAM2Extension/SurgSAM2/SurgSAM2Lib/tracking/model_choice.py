"""Which model runs, where and how: what the panel and the console choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelChoice:
    """The arguments of `surgsam2.load_model`, as plain data that can go to the worker."""

    name_or_path: str = "demo"
    """`demo`, a known model, a checkpoint file, or a bundle folder."""
    config: str | None = None
    """Configuration name; None for the one that belongs to the checkpoint."""
    device: str = "auto"
    dtype: str = "auto"
    pruning: str = "capped"
    """Form of Efficient Frame Pruning: `capped`, `full-bank` or `off`."""
    prune: int = 2
    """Memories that pruning leaves out."""

    def options(self) -> dict[str, Any]:
        """What the worker's `load_model` takes besides the name."""
        return {
            "config": self.config,
            "device": self.device,
            "dtype": self.dtype,
            "pruning": {"form": self.pruning, "prune": self.prune},
        }
