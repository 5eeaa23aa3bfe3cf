"""The prompts of all objects of a video."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from surgsam2.errors import PromptError
from surgsam2.prompts.checks import (
    MAX_FRAME,
    Box,
    Points,
    checked_color,
    checked_id,
    checked_name,
    plain,
    show,
    split_points,
    whole_number,
)
from surgsam2.prompts.object_class import ClassList, ObjectClass
from surgsam2.prompts.prompt import Prompt, PromptedObject, VideoShape
from surgsam2.storage.palette import default_color

_DIGITS = "0123456789 _-#"
"""What may stand at the end of an object's name after the name of its class."""


def default_name(object_id: int) -> str:
    """Return the name of an object that was not given one."""
    return f"object {object_id}"


@dataclass
class _Entry:
    name: str
    color: str
    prompts: dict[int, Prompt]
    object_class: ObjectClass | None = None


class PromptSet:
    """The prompts of all objects, at most one `Prompt` per object and frame.

    Objects keep the order in which they were first added. The set has the length of its
    number of objects and iterates over them.

    Args:
        video: the video that the prompts were made for, if that is known.
        corrections: whether the prompts correct masks that are there, for
            `surgsam2.job.correct_results`. Then all points of a prompt may be negative.
    """

    def __init__(self, *, video: VideoShape | None = None, corrections: bool = False) -> None:
        self.video = video
        """The video that the prompts were made for, if that is known; `validate` checks it."""
        self.mask_files: tuple[Path, ...] = ()
        """The files that `load_prompts` read masks from."""
        self._corrections = corrections
        self._entries: dict[int, _Entry] = {}

    def add(  # one keyword per part of a prompt
        self,
        *,
        object_id: int,
        frame: int,
        points: Points | None = None,
        box: Box | None = None,
        mask: np.ndarray | None = None,
        name: str | None = None,
        color: str | None = None,
        object_class: ObjectClass | None = None,
    ) -> PromptSet:
        """Add points, a box, both, or a mask for an object on a frame.

        Args:
            object_id: 1 to 65535. A new id is a new object.
            frame: frame index from 0. The frame may have prompts for this object already:
                points are appended; a second box or mask is refused.
            points: ``[[x, y, label], ...]`` or a (P, 3) array, in pixels; label 1 is on the
                object, 0 outside it.
            box: ``[x0, y0, x1, y1]`` in pixels, x0 < x1 and y0 < y1.
            mask: (H, W) bool, or integers of which non-zero is the object.
            name: one line of text; ``object ID`` when never given, the latest one otherwise.
            color: ``#rrggbb``; a fixed colour per id when never given, the latest one otherwise.
            object_class: what the object is; none when never given, the latest one otherwise.

        Returns:
            The set itself.

        Raises:
            PromptError: a value cannot be used. The message names the object, the frame and the
                value, and the set is as before.
        """
        object_id = checked_id(object_id)
        place = f"object {object_id}"
        if name is not None:
            checked_name(name, place)
        if color is not None:
            color = checked_color(color, place)
        entry = self._entries.get(object_id)
        try:
            xy, labels = split_points(points)
            frame = whole_number(frame, "frame", 0, MAX_FRAME)
            existing = entry.prompts.get(frame) if entry is not None else None
            if existing is not None:
                prompt = existing.extended(xy, labels, box, mask)
            else:
                prompt = Prompt(frame, xy, labels, box, mask, self._corrections)  # type: ignore[arg-type]
        except PromptError as error:
            text = str(error)
            if not text.startswith("frame"):
                text = f"frame {show(frame)}: {text}"
            raise PromptError(f"{place}, {text}") from None
        if entry is None:
            entry = _Entry(default_name(object_id), default_color(object_id), {})
            self._entries[object_id] = entry
        entry.prompts[prompt.frame] = prompt
        entry.name = name or entry.name
        entry.color = color or entry.color
        entry.object_class = object_class or entry.object_class
        return self

    def put(self, item: PromptedObject) -> PromptSet:
        """Add an object with all its prompts, in place of one that has the same id.

        Returns:
            The set itself.
        """
        prompts = {prompt.frame: prompt for prompt in item.prompts}
        self._entries[item.id] = _Entry(item.name, item.color, prompts, item.object_class)
        return self

    def remove(self, object_id: int) -> PromptSet:
        """Remove an object and all its prompts.

        Returns:
            The set itself.

        Raises:
            PromptError: there is no such object.
        """
        self._entry(object_id)
        del self._entries[object_id]
        return self

    @property
    def objects(self) -> tuple[PromptedObject, ...]:
        """All objects, in the order in which they were added."""
        return tuple(self.for_object(object_id) for object_id in self._entries)

    @property
    def frames(self) -> tuple[int, ...]:
        """Indices of the frames that have a prompt, ascending."""
        return tuple(sorted({f for entry in self._entries.values() for f in entry.prompts}))

    def on_frame(self, frame: int) -> dict[int, Prompt]:
        """Return the prompts of one frame by object id.

        Objects without a prompt on this frame are left out. The order is that of the set.
        """
        return {
            object_id: entry.prompts[frame]
            for object_id, entry in self._entries.items()
            if frame in entry.prompts
        }

    def for_object(self, object_id: int) -> PromptedObject:
        """Return one object with all its prompts; raise `PromptError` if there is none."""
        entry = self._entry(object_id)
        prompts = tuple(entry.prompts.values())
        return PromptedObject(object_id, entry.name, entry.color, prompts, entry.object_class)

    def for_every(self, stride: int) -> PromptSet:
        """Return a copy for a video that has every `stride`-th frame of this set's video.

        Raises:
            PromptError: a prompted frame is not among them.
        """
        result = copy.deepcopy(self)
        if self.video is not None and self.video.frames:
            result.video = replace(self.video, frames=-(-self.video.frames // stride))
        for object_id, entry in result._entries.items():
            for frame in entry.prompts:
                if frame % stride:
                    before = frame - frame % stride
                    raise PromptError(
                        f"object {object_id} is prompted on frame {frame}, which a stride of "
                        f"{stride} leaves out; prompt on frame {before} or {before + stride}"
                    )
            entry.prompts = {
                frame // stride: replace(prompt, frame=frame // stride)
                for frame, prompt in entry.prompts.items()
            }
        return result

    def with_classes(self, classes: ClassList) -> PromptSet:
        """Return a copy in which the objects have the classes of a list that have their names.

        A number at the end of an object's name does not count: "grasper 2" is a "grasper".

        Raises:
            PromptError: the name of an object without a class is not in the list.
        """
        result = copy.deepcopy(self)
        for object_id, entry in result._entries.items():
            found = classes.by_name(entry.name) or classes.by_name(entry.name.rstrip(_DIGITS))
            entry.object_class = entry.object_class or found
            if entry.object_class is None:
                raise PromptError(
                    f"object {object_id} has the name {show(entry.name)}, and the class list "
                    f"{show(classes.name)} has no class of this name; rename it to one of "
                    f"{', '.join(item.name for item in classes)}, or give it a class"
                )
        return result

    def _entry(self, object_id: int) -> _Entry:
        try:
            return self._entries[object_id]
        except (KeyError, TypeError):
            known = ", ".join(map(str, list(self._entries)[:20])) or "none"
            raise PromptError(
                f"there is no object {show(object_id)}; known object ids: {known}"
            ) from None

    def validate(self, width: int, height: int, frame_count: int | None = None) -> None:
        """Check the prompts against a video.

        Args:
            width: width of its frames in pixels.
            height: height of its frames in pixels.
            frame_count: number of its frames; None (a live source, or not known) leaves the
                frame indices unchecked.

        Raises:
            PromptError: there are no prompts, a frame is after the end, a point is outside
                ``-0.5 <= x < width - 0.5`` (y alike), a box leaves the frame by more than a
                pixel, a mask has another size, or `video` differs. The message names the object,
                the frame and the value.
        """
        if not self._entries:
            raise PromptError("there are no prompts; add points, a box or a mask for an object")
        if self.video is not None:
            self._check_video(self.video, width, height, frame_count)
        for object_id, entry in self._entries.items():
            named = "" if entry.name == default_name(object_id) else f" ({entry.name})"
            for prompt in entry.prompts.values():
                place = f"object {object_id}{named}, frame {prompt.frame}"
                if frame_count is not None and prompt.frame >= frame_count:
                    raise PromptError(
                        f"{place}: the video has {frame_count} frames; "
                        f"the last one is frame {frame_count - 1}"
                    )
                _check_inside(prompt, place, width, height)

    @staticmethod
    def _check_video(video: VideoShape, width: int, height: int, frames: int | None) -> None:
        differences = [
            f"{name} is {expected} in the prompts and {actual} in the video"
            for name, expected, actual in (
                ("width", video.width, width),
                ("height", video.height, height),
                ("number of frames", video.frames, frames),
            )
            if expected is not None and actual is not None and expected != actual
        ]
        if differences:
            raise PromptError(
                f"the prompts were made for another video: {', '.join(differences)}; "
                f"use that video, or correct the prompts' video section"
            )

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[PromptedObject]:
        return iter(self.objects)

    def __contains__(self, object_id: object) -> bool:
        return object_id in self._entries

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PromptSet):
            return NotImplemented
        return self.video == other.video and self.objects == other.objects

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        ids = ", ".join(f"{i}: {entry.name!r}" for i, entry in self._entries.items())
        return f"PromptSet({{{ids}}}, {len(self.frames)} prompted frames)"


def _check_inside(prompt: Prompt, place: str, width: int, height: int) -> None:
    right, bottom = width - 0.5, height - 0.5
    for x, y in prompt.points.tolist():
        if not (-0.5 <= x < right and -0.5 <= y < bottom):
            raise PromptError(
                f"{place}: the point [{x:g}, {y:g}] is outside the {width} x {height} frame; "
                f"allowed are -0.5 <= x < {right:g} and -0.5 <= y < {bottom:g}"
            )
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box.tolist()
        # Detectors give boxes whose edges lie up to a pixel outside; the tracker clips them.
        if not (x0 >= -1.5 and y0 >= -1.5 and x1 <= right + 1 and y1 <= bottom + 1):
            raise PromptError(
                f"{place}: the box {plain(prompt.box)} leaves the {width} x {height} frame; "
                f"allowed are x from -1.5 to {right + 1:g} and y from -1.5 to {bottom + 1:g}"
            )
    if prompt.mask is not None and prompt.mask.shape != (height, width):
        mask_height, mask_width = prompt.mask.shape
        raise PromptError(
            f"{place}: the mask has {mask_width} x {mask_height} pixels, "
            f"the video {width} x {height}; give a mask of the video's size"
        )
