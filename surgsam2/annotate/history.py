"""Undo and redo of a project's changes, within a bounded amount of memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from surgsam2.annotate.states import AnnotatedObject, ObjectTimeline
from surgsam2.prompts import Prompt

BUDGET_BYTES = 128 * 2**20
"""The most memory that remembered masks may take; older changes are forgotten first."""


@dataclass
class Snapshot:
    """The part of a project that a change touches, as it was before the change."""

    name: str
    """The change in a few words, such as ``track``."""
    objects: dict[int, AnnotatedObject]
    prompts: dict[int, dict[int, Prompt]]
    timelines: dict[int, ObjectTimeline]
    labels: dict[int, bytes | None] = field(default_factory=dict)
    """By frame: the bytes of the label image; None when there was none."""
    replaced: int = 0
    """Bytes of the prompted masks that only this snapshot holds."""

    @property
    def size(self) -> int:
        """The memory that is held, in bytes, roughly."""
        images = sum(len(data) for data in self.labels.values() if data)
        lines = sum(2 * len(line.states) for line in self.timelines.values())
        return images + lines + self.replaced + 1024

    def compare(self, now: dict[int, dict[int, Prompt]]) -> None:
        """Take note of the masks that are no longer among the prompts."""
        kept = {id(prompt) for prompts in now.values() for prompt in prompts.values()}
        self.replaced = sum(
            prompt.mask.nbytes
            for prompts in self.prompts.values()
            for prompt in prompts.values()
            if prompt.mask is not None and id(prompt) not in kept
        )


class History:
    """Two stacks of snapshots: what undo goes back to, and what redo goes forward to."""

    def __init__(self, budget: int = BUDGET_BYTES) -> None:
        self._budget = budget
        self._undo: deque[Snapshot] = deque()
        self._redo: deque[Snapshot] = deque()

    @property
    def undo_name(self) -> str | None:
        """The name of the change that undo would take back; None when there is none."""
        return self._undo[-1].name if self._undo else None

    @property
    def redo_name(self) -> str | None:
        """The name of the change that redo would make again; None when there is none."""
        return self._redo[-1].name if self._redo else None

    def add(self, snapshot: Snapshot) -> None:
        """Remember a change that was made; what could be redone before no longer can."""
        self._redo.clear()
        self._push(self._undo, snapshot)

    def take_undo(self) -> Snapshot | None:
        """Take the latest change from the undo stack."""
        return self._undo.pop() if self._undo else None

    def take_redo(self) -> Snapshot | None:
        """Take the latest change from the redo stack."""
        return self._redo.pop() if self._redo else None

    def add_redo(self, snapshot: Snapshot) -> None:
        """Remember what an undo took back."""
        self._push(self._redo, snapshot)

    def add_undo(self, snapshot: Snapshot) -> None:
        """Remember what a redo made again; the redo stack stays."""
        self._push(self._undo, snapshot)

    def _push(self, stack: deque[Snapshot], snapshot: Snapshot) -> None:
        stack.append(snapshot)
        while len(stack) > 1 and sum(s.size for s in (*self._undo, *self._redo)) > self._budget:
            stack.popleft()
