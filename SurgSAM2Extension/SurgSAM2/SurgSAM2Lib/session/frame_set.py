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
ABSENT = "SurgSAM2.absentFrames."
"""Frames on which the user said that an object is not visible; the object's id follows."""


class FrameSet(Collection[int]):
    """A set of frame indices that is stored as an attribute of the mask sequence.

    Iterating gives the frames in ascending order. The attribute lists frames and ranges of
    frames: ``3 10-20``.

    Args:
        masks: the masks of the video. A frame that the video does not have is refused with
            an `InputError`.
        attribute: name of the attribute.
    """

    def __init__(self, masks: MaskNodes, attribute: str) -> None:
        self._masks = masks
        self._attribute = attribute
        self._read: tuple[str, frozenset[int]] = ("", frozenset())

    def add(self, frames: Iterable[int]) -> None:
        """Add frames. Raises `InputError`."""
        self._store(self._frames | self._checked(frames))

    def discard(self, frames: Iterable[int]) -> None:
        """Remove frames, if they are in the set. Raises `InputError`."""
        self._store(self._frames - self._checked(frames))

    def clear(self) -> None:
        """Remove all frames."""
        self._store(frozenset())

    @property
    def text(self) -> str:
        """The set as text; setting it replaces the set."""
        return self._masks.sequence.GetAttribute(self._attribute) or ""

    @text.setter
    def text(self, text: str) -> None:
        if text != self.text:
            self._masks.sequence.SetAttribute(self._attribute, text or None)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._frames))

    def __contains__(self, frame: object) -> bool:
        return frame in self._frames

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def _frames(self) -> frozenset[int]:
        text = self.text
        if text != self._read[0]:
            self._read = (text, frozenset(_frames_of(text)))
        return self._read[1]

    def _checked(self, frames: Iterable[int]) -> set[int]:
        return {self._masks.video.check_frame(frame) for frame in frames}

    def _store(self, frames: frozenset[int]) -> None:
        self.text = _text_of(sorted(frames))


def _frames_of(text: str) -> Iterator[int]:
    for word in text.split():
        first, dash, last = word.partition("-")
        if first.isdecimal() and (last.isdecimal() or not dash):
            yield from range(int(first), int(last or first) + 1)


def _text_of(frames: list[int]) -> str:
    words, start = [], 0
    for k, frame in enumerate(frames):
        if k + 1 == len(frames) or frames[k + 1] != frame + 1:
            first = frames[start]
            words.append(str(first) if first == frame else f"{first}-{frame}")
            start = k + 1
    return " ".join(words)
