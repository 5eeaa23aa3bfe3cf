"""The prompts of one object, as values that are checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from surgsam2.errors import PromptError
from surgsam2.prompts.checks import (
    MAX_FRAME,
    checked_box,
    checked_color,
    checked_id,
    checked_mask,
    checked_name,
    checked_points,
    plain,
    whole_number,
)
from surgsam2.prompts.object_class import ObjectClass
from surgsam2.storage.palette import rgb_of


@dataclass(frozen=True, eq=False)
class Prompt:
    """The points, the box, both, or the mask that mark one object on one frame.

    A mask never comes together with points or a box. Arrays are copied, converted and
    made read-only. `PromptSet.validate` checks the prompts against a particular video.

    Raises:
        PromptError: a value that fits no video.
    """

    frame: int
    """Index of the frame, from 0."""
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """(P, 2) float32, x and y in pixels. P is 0 without points."""
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """(P,) int32: 1 for a point on the object, 0 for a point outside it."""
    box: np.ndarray | None = None
    """(4,) float32 ``[x0, y0, x1, y1]`` with x0 < x1 and y0 < y1, in pixels."""
    mask: np.ndarray | None = None
    """(H, W) bool with at least one pixel set. Of an integer array, non-zero is the object."""
    corrects: bool = False
    """Whether the points correct a mask that is there, so that all of them may be negative."""

    def __post_init__(self) -> None:
        frame = whole_number(self.frame, "frame", 0, MAX_FRAME)
        place = f"frame {frame}"
        points, labels = checked_points(self.points, self.labels, place)
        box = None if self.box is None else checked_box(self.box, place)
        mask = None if self.mask is None else checked_mask(self.mask, place)
        if mask is not None and (len(points) or box is not None):
            raise PromptError(
                f"{place}: a mask cannot be combined with points or a box; "
                f"give one or the other on a frame"
            )
        if mask is None and box is None and not len(points):
            raise PromptError(f"{place}: nothing is marked; give points, a box or a mask")
        if len(points) and box is None and not labels.any() and not self.corrects:
            raise PromptError(
                f"{place}: all points are negative (label 0); add a positive point or a box"
            )
        for name, value in (
            ("frame", frame),
            ("points", points),
            ("labels", labels),
            ("box", box),
            ("mask", mask),
        ):
            object.__setattr__(self, name, value)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prompt):
            return NotImplemented
        return (
            self.frame == other.frame
            and np.array_equal(self.points, other.points)
            and np.array_equal(self.labels, other.labels)
            and _same(self.box, other.box)
            and _same(self.mask, other.mask)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [f"frame={self.frame}"]
        if len(self.points):
            parts.append(f"points={prompt_rows(self)}")
        if self.box is not None:
            parts.append(f"box={plain(self.box)}")
        if self.mask is not None:
            parts.append(f"mask={self.mask.shape} bool")
        return f"Prompt({', '.join(parts)})"

    def extended(
        self, points: Any = (), labels: Any = (), box: Any = None, mask: Any = None
    ) -> Prompt:
        """Return this prompt with more points, or with a box or mask that it did not have.

        Args:
            points: (P, 2) x and y in pixels; these are appended.
            labels: (P,) 1 on the object, 0 outside it.
            box: ``[x0, y0, x1, y1]`` in pixels.
            mask: (H, W) bool or integers.

        Raises:
            PromptError: a second box, a second mask, or a mask together with points or a box.
        """
        place = f"frame {self.frame}"
        for name, value in (("box", box), ("mask", mask)):
            if value is not None and getattr(self, name) is not None:
                raise PromptError(
                    f"{place}: there is a {name} already; an object has at most one {name} per "
                    f"frame, remove the object first to give it another"
                )
        more, more_labels = checked_points(points, labels, place)
        return Prompt(
            self.frame,
            np.concatenate([self.points, more]),
            np.concatenate([self.labels, more_labels]),
            self.box if box is None else box,
            self.mask if mask is None else mask,
            self.corrects,
        )


@dataclass(frozen=True)
class PromptedObject:
    """One object and every prompt given for it.

    Raises:
        PromptError: a value cannot be used.
    """

    id: int
    """1 to 65535; the pixel value in label images."""
    name: str
    """One line of text, not blank."""
    color: str
    """``#rrggbb``, lower case."""
    prompts: tuple[Prompt, ...]
    """At least one, sorted by frame, at most one per frame."""
    object_class: ObjectClass | None = None
    """The class of the object; None when none was chosen."""

    __hash__ = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", checked_id(self.id))
        checked_name(self.name, f"object {self.id}")
        object.__setattr__(self, "color", checked_color(self.color, f"object {self.id}"))
        prompts = tuple(sorted(self.prompts, key=lambda prompt: prompt.frame))
        if not prompts:
            raise PromptError(
                f"object {self.id} ({self.name}): no prompts; give points, a box or a mask"
            )
        for before, after in pairwise(prompts):
            if before.frame == after.frame:
                raise PromptError(f"object {self.id}: two prompts on frame {after.frame}")
        object.__setattr__(self, "prompts", prompts)

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as red, green and blue, each 0 to 255."""
        return rgb_of(self.color)


@dataclass(frozen=True)
class VideoShape:
    """The size of the video that prompts were made for, from the file's section "video".

    Raises:
        PromptError: a value cannot be used.
    """

    width: int
    """Pixels, at least 1."""
    height: int
    """Pixels, at least 1."""
    frames: int | None = None
    """Number of frames, None when not known."""

    def __post_init__(self) -> None:
        for name in ("width", "height", "frames"):
            value = getattr(self, name)
            if name != "frames" or value is not None:
                object.__setattr__(self, name, whole_number(value, f"video.{name}", 1, MAX_FRAME))


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))


def prompt_rows(prompt: Prompt) -> list[list[float]]:
    """Return the points of a prompt as ``[x, y, label]`` for a JSON file."""
    return [
        [*plain(point), int(label)]
        for point, label in zip(prompt.points, prompt.labels, strict=True)
    ]
