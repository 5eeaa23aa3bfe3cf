"""Undo: the states that changes of prompts can go back to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from surgsam2.prompts import Prompt
from SurgSAM2Lib.prompts.correction import Correction

DEPTH = 50
"""Number of changes that can be undone; each holds at most a few masks of one frame."""


@dataclass(frozen=True, eq=False)
class Step:
    """The state before a change.

    Attributes:
        prompts: all prompts, by object id and frame.
        corrections: all corrections, by object id and frame.
        frame: the frame whose masks the change may alter.
        masks: those masks, (H, W) bool by object id.
    """

    prompts: dict[tuple[int, int], Prompt]
    corrections: dict[tuple[int, int], Correction]
    frame: int
    masks: dict[int, np.ndarray]


class History:
    """The last changes, newest last."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque(maxlen=DEPTH)

    def remember(self, step: Step) -> None:
        """Add the state before a change; the oldest one is dropped when there are too many."""
        self._steps.append(step)

    def take_back(self) -> Step | None:
        """Remove and return the newest state; None when there is none."""
        return self._steps.pop() if self._steps else None

    def forget(self) -> None:
        """Drop all states."""
        self._steps.clear()

    def __len__(self) -> int:
        return len(self._steps)
