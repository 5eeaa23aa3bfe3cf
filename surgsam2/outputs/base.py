"""The interface of all writers of results, and the facts about a run that they need."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from surgsam2.errors import InputError
from surgsam2.prompts import PromptedObject
from surgsam2.results.frame_result import FrameResult


@dataclass(frozen=True)
class OutputContext:
    """The video and the objects that the results of a run belong to."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fps: float | Fraction | None
    """Frames per second; None, 0 or not a number when not known."""
    objects: tuple[PromptedObject, ...]
    """Every object that results may contain, in the prompt set's order."""
    video_name: str = ""
    """Name of the video for people, not a path."""
    frame_count: int | None = None
    """Largest number of frames that the run gives; None when not known."""
    times: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Time of each frame of the video in seconds after the first; None for frames at `fps`."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel as it is shown, divided by its height."""
    frame_names: tuple[str, ...] = field(default=(), repr=False)
    """Name of each frame's source file without its suffix; empty if they are not to be told."""

    stride: int = 1
    """Results are of every `stride`-th frame of the video, and are counted among those."""

    files: tuple[Path, ...] = field(default=(), repr=False)
    """The files that the frames of the video are in."""
    tells_names: bool = False
    """Whether files may name the video, and the patient if they have a place for it."""

    @cached_property
    def order(self) -> dict[int, int]:
        """Position of each object id in `objects`."""
        return {item.id: position for position, item in enumerate(self.objects)}

    def number(self, frame_index: int) -> int:
        """Return the number in the video of the frame that a result counts as `frame_index`."""
        return frame_index * self.stride

    def seconds(self, frame_index: int) -> float | None:
        """Return the time of a frame in seconds after the first; None when it is not known."""
        if self.times is not None and frame_index < len(self.times):
            return float(self.times[frame_index])
        known = self.fps is not None and math.isfinite(self.fps) and self.fps > 0
        return frame_index / float(self.fps) if known else None  # type: ignore[arg-type]

    def frame_name(self, frame_index: int) -> str:
        """Return the name of a frame's source file without its suffix; empty if not to be told."""
        return self.frame_names[frame_index] if frame_index < len(self.frame_names) else ""

    def object(self, object_id: int) -> PromptedObject:
        """Return the object with this id; `KeyError` when there is none."""
        return self.objects[self.order[object_id]]

    def drawing_order(self, result: FrameResult) -> list[int]:
        """Return indices of the result's N objects in drawing order: later ones lie on top."""
        return sorted(range(len(result.object_ids)), key=lambda i: self.order[result.object_ids[i]])

    def check(self, frame: np.ndarray, result: FrameResult) -> None:
        """Check that a frame and its result belong to this run.

        Args:
            frame: the pixels, (H, W, 3) uint8 RGB.
            result: the result of the frame.

        Raises:
            InputError: the size differs from the video's, or an object is unknown.
        """
        size = (self.height, self.width)
        if frame.shape != (*size, 3) or frame.dtype != np.uint8:
            raise InputError(
                f"frame {result.frame_index}: expected ({self.height}, {self.width}, 3) uint8, "
                f"got {frame.shape} {frame.dtype}"
            )
        if result.masks.shape[1:] != size:
            raise InputError(
                f"frame {result.frame_index}: the masks have shape {result.masks.shape[1:]}, "
                f"the video {size}"
            )
        for object_id in result.object_ids:
            if object_id not in self.order:
                raise InputError(
                    f"frame {result.frame_index}: object {object_id} is not among the run's "
                    f"objects {tuple(self.order)}"
                )


@dataclass(frozen=True)
class OutputUpdate:
    """The frames of an earlier run's file that changed."""

    folder: Path
    """The output folder with the file."""
    context: OutputContext
    """The video and the objects of the run."""
    before: tuple[int, ...]
    """Indices of the frames that the file has, ascending."""
    after: tuple[int, ...]
    """Indices of the frames that it shall have, ascending."""
    changed: frozenset[int]
    """Indices of the frames that differ from the file, new ones included."""
    write: Callable[[OutputWriter, int, int], None]
    """Gives a writer the frames ``start <= index < stop`` of `after`, in this order."""
    result: Callable[[int], FrameResult]
    """Returns the result of a frame of `after`; this is quicker than with the frame's pixels."""


class OutputWriter(ABC):
    """Writes the results of a run in one format, frame by frame.

    What has been written is complete and valid after `close`, also when the run stopped
    early.

    Args:
        folder: the output folder, which exists (`prepare_output`).
        context: the video and the objects of the run.

    Raises:
        OutputError: the disk refuses a file.
    """

    needs_order: ClassVar[bool] = False
    """Whether frames must come with ascending frame indices."""

    @classmethod
    def update(cls, update: OutputUpdate) -> bool:
        """Replace some frames in the file that an earlier run wrote, if the format can.

        Returns:
            Whether it was done. If not, the file is as it was, and is to be written anew.

        Raises:
            OutputError: the disk refuses.
        """
        return False

    def __init__(self, folder: Path, context: OutputContext) -> None:
        self.folder = Path(folder)
        self.context = context

    @classmethod  # noqa: B027 - most formats have nothing to refuse
    def check_run(cls, folder: Path, context: OutputContext) -> None:
        """Check that a run can be written in this format, before the folder is touched.

        Args:
            folder: the output folder, which need not exist.
            context: the video and the objects of the run.

        Raises:
            InputError: the run cannot be written in this format.
        """

    def write(self, frame: np.ndarray, result: FrameResult) -> None:
        """Write one frame and its result.

        Args:
            frame: the pixels, (H, W, 3) uint8 RGB, which are not changed.
            result: the result of the frame.

        Raises:
            OutputError: the disk refuses.
            InputError: the frame or the result does not belong to the run.
        """
        self.context.check(frame, result)
        self._write(frame, result)

    @abstractmethod
    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        """Write one frame and its result, which are checked."""

    @abstractmethod
    def close(self) -> None:
        """Complete the files; may be called more than once."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"
