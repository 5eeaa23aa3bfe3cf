"""Undo and redo: the states that changes of a session can go back to."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from surgsam2.mrml import ObjectStyle
from surgsam2.prompts import Prompt
from SurgSAM2Lib.prompts.correction import Correction

Measured = dict[str, np.ndarray]
"""The measurements of an object: (frame_count,) float32 by the name of the quantity."""
DEPTH = 50
"""Largest number of changes that can be undone."""
MOST_BYTES = 256 * 2**20
"""Largest size of the masks that are kept for undo; the oldest changes are dropped first."""


@dataclass(eq=False)
class Step:
    """The state before a change.

    Attributes:
        frame: the frame to look at after undoing.
        objects: all objects.
        prompts: all prompts, by object id and frame.
        corrections: all corrections, by object id and frame.
        marks: the marked frames of each set, as text by the name of the set.
        measurements: what was measured of objects that the change removes, by object id.
    """

    frame: int
    objects: tuple[ObjectStyle, ...]
    prompts: dict[tuple[int, int], Prompt]
    corrections: dict[tuple[int, int], Correction]
    marks: dict[str, str]
    measurements: dict[int, Measured] = field(default_factory=dict)
    _masks: dict[int, dict[int, bytes]] = field(default_factory=dict)
    _shape: tuple[int, int] = (0, 0)

    def keep(self, frame: int, object_id: int, mask: np.ndarray) -> None:
        """Keep a mask, (H, W) bool, unless one of this object and frame is kept already."""
        kept = self._masks.setdefault(frame, {})
        if object_id not in kept:
            self._shape = mask.shape[0], mask.shape[1]
            kept[object_id] = zlib.compress(np.packbits(mask).tobytes(), 1) if mask.any() else b""

    def replace(self, frame: int, object_id: int, mask: np.ndarray) -> None:
        """Keep another mask, (H, W) bool, if one of this object and frame is kept."""
        if self._masks.get(frame, {}).pop(object_id, None) is not None:
            self.keep(frame, object_id, mask)

    def masks(self, frame: int) -> dict[int, np.ndarray]:
        """Return the masks that are kept of a frame, (H, W) bool by object id."""
        return {i: self._unpacked(packed) for i, packed in self._masks.get(frame, {}).items()}

    def differs(self, present: Step) -> bool:
        """Return whether going back to this state changes anything."""
        mine, others = (
            ([style.id for style in step.objects], step.prompts, step.marks)
            for step in (self, present)
        )
        return bool(self._masks) or mine != others

    @property
    def frames(self) -> list[int]:
        """The frames with masks that are kept."""
        return list(self._masks)

    def kept(self, frame: int) -> Iterable[int]:
        """Return the objects whose masks are kept of a frame."""
        return self._masks.get(frame, {}).keys()

    @property
    def size(self) -> int:
        """Number of bytes that the masks take."""
        return sum(len(packed) for kept in self._masks.values() for packed in kept.values())

    def _unpacked(self, packed: bytes) -> np.ndarray:
        height, width = self._shape
        if not packed:
            return np.zeros((height, width), bool)
        bits = np.frombuffer(zlib.decompress(packed), np.uint8)
        return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)


class History:
    """The changes that can be undone, and the undone changes that can be redone."""

    def __init__(self) -> None:
        self._undo: list[Step] = []
        self._redo: list[Step] = []

    def remember(self, step: Step) -> None:
        """Add the state before a new change; what was undone cannot be redone any more."""
        self._redo.clear()
        self._undo.append(step)
        self._drop_oldest()

    def newest(self, redo: bool = False) -> Step | None:
        """Return the state that undo, or redo, goes back to; None when there is none."""
        steps = self._redo if redo else self._undo
        return steps[-1] if steps else None

    def drop_newest(self, redo: bool = False) -> None:
        """Remove the newest state, because it is the present one."""
        (self._redo if redo else self._undo).pop()

    def move(self, present: Step, redo: bool = False) -> None:
        """Replace the newest step by one that goes back to the present state."""
        source, target = (self._redo, self._undo) if redo else (self._undo, self._redo)
        source.pop()
        target.append(present)
        self._drop_oldest()

    def replace_since(self, step: Step, frame: int, object_id: int, mask: np.ndarray) -> None:
        """Let all states after a step have another mask, because it was written meanwhile.

        Args:
            step: the state before the change that writes the mask.
            frame: index of the frame.
            object_id: id of the object.
            mask: (H, W) bool.
        """
        for later in (*self._redo, *reversed(self._undo)):
            if later is step:
                return
            later.replace(frame, object_id, mask)

    def forget(self) -> None:
        """Drop all states."""
        self._undo.clear()
        self._redo.clear()

    def __len__(self) -> int:
        return len(self._undo)

    def _drop_oldest(self) -> None:
        size = sum(step.size for step in (*self._undo, *self._redo))
        while len(self._undo) > DEPTH or (size > MOST_BYTES and len(self._undo) > 1):
            size -= self._undo.pop(0).size
