"""What undo goes back to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from surgsam2.prompts import Prompt
from SurgSAM2Lib.prompts.correction import Correction

DEPTH = 50
"""Steps that can be undone; each holds at most a few masks of one frame."""


@dataclass(frozen=True, eq=False)
class Step:
    """The prompts before a change, and the masks that it may alter."""

    prompts: dict[tuple[int, int], Prompt]
    corrections: dict[tuple[int, int], Correction]
    frame: int
    masks: dict[int, np.ndarray]
    """(H, W) bool by object id, on `frame`."""


@dataclass
class History:
    """The last steps, newest last."""

    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=DEPTH))

    def remember(self, step: Step) -> None:
        self.steps.append(step)

    def take_back(self) -> Step | None:
        """The newest step, which is then forgotten; None when there is none."""
        return self.steps.pop() if self.steps else None

    def forget(self) -> None:
        self.steps.clear()

    def __len__(self) -> int:
        return len(self.steps)
