"""The limits beyond which a frame is doubtful, the same for every way of looking at results."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from surgsam2.errors import InputError


@dataclass(frozen=True)
class Thresholds:
    """Limits beyond which a frame is doubtful. Jumps are changes from one frame to the next.

    Raises:
        InputError: a value cannot be used.
    """

    low_iou: float = 0.75
    """The predicted IoU of a visible object must not be below this (0 to 1). docs/command-line.md
    says what this finds."""
    visible: float = 0.5
    """An object counts as visible from this presence on (0 to 1)."""
    area_factor: float = 1.5
    """The area must not become more than this many times larger or smaller (1 or more)."""
    position_jump: float = 0.5
    """The centroid must not move by more than this many sizes of the object (0 or more). The size
    is the square root of its area."""
    min_area: float = 25.0
    """Jumps do not count if the object is smaller than this on both frames (pixels)."""
    join: int = 2
    """Stretches of an object with at most this many frames between them are one."""

    def __post_init__(self) -> None:
        limits = {"low_iou": (0, 1), "visible": (0, 1), "area_factor": (1, math.inf)}
        for field in fields(self):
            low, high = limits.get(field.name, (0, math.inf))
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or not low <= value <= high:
                allowed = f"{low} or more" if high == math.inf else f"{low} to {high}"
                raise InputError(f"threshold {field.name} must be {allowed}, got {value!r}")
