"""One case of the benchmark: a subject on a clip with a number of objects."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from surgsam2.errors import InputError
from surgsam2.tracking.prefetch import AHEAD

OURS = "surgsam2"
"""Name of the engine among the subjects."""
BASELINES = {
    "sam2": "sam2's own video predictor: the same weights, frames and pruning",
    "sam2-unpruned": "the same as sam2 ships it, every memory attended",
    "per-object": "`sam2` with each object in a run of its own, as the authors' evaluation does",
    "sam2-float32": "`sam2` in float32, its own precision on CPUs, whatever that of the others is",
    "surgsam2-float32": "`surgsam2` in float32",
}
"""Name of each baseline -> description for the page."""

STAGES = (
    "decode",
    "preprocessing",
    "encoder",
    "memory attention",
    "decoder",
    "memory encoder",
    "postprocessing",
    "writing",
)
"""Stages of a frame, in the order in which it passes them."""

WARM_UP = 7
"""Number of frames at the start that do not count, after which the bank of 7 memories is full."""
COOL_DOWN = AHEAD
"""Number of frames at the end that do not count, because no later frame is encoded meanwhile."""
MAX_OBJECTS = 16


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything that one process needs to know to be measured.

    Raises:
        InputError: A number is out of range.
    """

    subject: str
    """`OURS`, or one of `BASELINES`. Those in float32 have a case of this `dtype`."""
    config: str
    checkpoint: str | None
    """File or known name; None takes untrained weights, which are as fast."""
    pruning: str
    """Form of Efficient Frame Pruning."""
    objects: int
    frames: int
    video: str
    """Path of the video file."""
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    """Number of threads of PyTorch; 0 keeps PyTorch's choice."""

    def __post_init__(self) -> None:
        if not 1 <= self.objects <= MAX_OBJECTS:
            raise InputError(f"objects must be 1 to {MAX_OBJECTS}, got {self.objects}")
        if self.frames <= WARM_UP + COOL_DOWN:
            raise InputError(
                f"frames must be more than {WARM_UP + COOL_DOWN}: the first {WARM_UP} and the last "
                f"{COOL_DOWN} do not count; got {self.frames}"
            )
        if self.threads < 0:
            raise InputError(f"threads must be 0 (PyTorch's choice) or more, got {self.threads}")

    def to_json(self) -> dict[str, Any]:
        """Return the case as plain data, which ``Case(**data)`` reads back."""
        return asdict(self)
