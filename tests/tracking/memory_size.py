"""How much a tracker remembers."""

from __future__ import annotations

from typing import Any

import torch

from surgsam2 import Tracker


def memory_bytes(tracker: Tracker) -> int:
    """Return the bytes of all tensors in a tracker's state."""
    return _tensor_bytes(tracker.state_dict())


def _tensor_bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(_tensor_bytes, value)) if isinstance(value, list | tuple) else 0
