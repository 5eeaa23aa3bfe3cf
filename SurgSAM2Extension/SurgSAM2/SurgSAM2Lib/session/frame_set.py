"""Sets of frames that are saved with the scene, such as those marked as good."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from surgsam2.mrml import MaskNodes

GOOD = "SurgSAM2.goodFrames"
"""Frames that the user has looked at and wants to keep as they are."""
BAD = "SurgSAM2.badFrames"
"""Frames that the user has looked at and found wrong."""
EDITED = "SurgSAM2.editedFrames"
"""Frames on which masks were painted since the last track."""


class FrameSet(Collection[int]):
    """A set of frame indices that is stored as an attribute of the mask sequence.

    Iterating gives the frames in ascending order.

    Args:
        masks: the masks of the video. A frame that the video does not have is refused with
            an `InputError`.
        attribute: name of the attribute.
    """

    def __init__(self, masks: MaskNodes, attribute: str) -> None:
        self._masks = masks
        self._attribute = attribute

    def add(self, frames: Iterable[int]) -> None:
        """Add frames. Raises `InputError`."""
        self._store(set(self) | self._checked(frames))

    def discard(self, frames: Iterable[int]) -> None:
        """Remove frames, if they are in the set. Raises `InputError`."""
        self._store(set(self) - self._checked(frames))

    def clear(self) -> None:
        """Remove all frames."""
        self._store(set())

    def __iter__(self) -> Iterator[int]:
        text = self._masks.sequence.GetAttribute(self._attribute) or ""
        return iter(sorted(int(word) for word in text.split() if word.isdecimal()))

    def __contains__(self, frame: object) -> bool:
        return frame in set(self)

    def __len__(self) -> int:
        return len(set(self))

    def _checked(self, frames: Iterable[int]) -> set[int]:
        return {self._masks.video.check_frame(frame) for frame in frames}

    def _store(self, frames: set[int]) -> None:
        text = " ".join(map(str, sorted(frames)))
        if text != (self._masks.sequence.GetAttribute(self._attribute) or ""):
            self._masks.sequence.SetAttribute(self._attribute, text or None)
