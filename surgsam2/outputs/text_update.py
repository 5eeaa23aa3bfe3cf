"""Replaces the parts of some frames in a text file; those of all others are copied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from surgsam2.outputs.base import OutputUpdate
from surgsam2.results.frame_result import FrameResult

Part = TypeVar("Part")
"""A part of a file, such as a row; each belongs to one frame."""


def updated_parts(
    earlier: Iterable[tuple[int, Part]],
    update: OutputUpdate,
    parts_of: Callable[[FrameResult], list[Part]],
) -> Iterator[tuple[int, list[Part]]]:
    """Yield the parts of an updated file, frame by frame.

    Args:
        earlier: frame index and part of every part of the earlier file, in its order.
        update: the frames that changed.
        parts_of: returns the parts of a result.

    Yields:
        The index of each frame of ``update.after`` and its parts: new ones if the frame changed,
        else those of the earlier file.

    Raises:
        ValueError: the frames of the earlier file are not ascending, or are others.
    """
    rest = iter(earlier)
    following = next(rest, None)
    for index in update.after:
        kept = []
        while following is not None and following[0] == index:
            kept.append(following[1])
            following = next(rest, None)
        yield index, parts_of(update.result(index)) if index in update.changed else kept
    if following is not None:
        raise ValueError(f"frame {following[0]} is not expected")
