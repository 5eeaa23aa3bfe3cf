"""The frames and the size in which a video is loaded, and the memory that this takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from surgsam2.mrml import memory_needed
from surgsam2.mrml.free_memory import free_memory
from surgsam2.video import Video
from SurgSAM2Lib.i18n import _


@dataclass(frozen=True)
class LoadingOptions:
    """The part of a video to load.

    Attributes:
        first: index of the first frame.
        last: index of the last frame, which is included.
        stride: distance between frames.
        scale: factor of width and height, above 0 and up to 1.
    """

    first: int
    last: int
    stride: int = 1
    scale: float = 1.0

    @classmethod
    def everything(cls, video: Video) -> LoadingOptions:
        """Return the options that load the whole video in its own size."""
        return cls(0, video.frame_count - 1)

    @property
    def frames(self) -> int:
        """Number of frames to load."""
        return len(range(self.first, self.last + 1, self.stride))

    def memory(self, video: Video) -> int:
        """Return the number of bytes that the video will take in the scene."""
        return memory_needed(video.width, video.height, self.frames, self.scale)

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `loadVideo`."""
        return {
            "start": self.first,
            "stop": self.last + 1,
            "stride": self.stride,
            "scale": self.scale,
        }


def memory_text(video: Video, options: LoadingOptions) -> tuple[str, bool]:
    """Return a text on the memory that loading takes, and whether that memory is free.

    Where it is not, the text says what to change.
    """
    needed, free = options.memory(video), free_memory()
    if free is None:
        return _("{needed} GB").format(needed=_gigabytes(needed)), True
    values = {"needed": _gigabytes(needed), "free": _gigabytes(free)}
    if needed <= free:
        return _("{needed} GB of {free} GB that are free").format(**values), True
    fits = int(free / memory_needed(video.width, video.height, 1, options.scale))
    return _(
        "{needed} GB, but only {free} GB are free. Load at most {fits} frames, or every second "
        "frame, or a smaller picture; or work from the file."
    ).format(fits=fits, **values), False


def describe_video(video: Video) -> str:
    """Return one line with the size, length and rate of a video."""
    return _("{width} x {height} pixels, {frames} frames, {fps} frames/s").format(
        width=video.width, height=video.height, frames=video.frame_count, fps=f"{video.fps:g}"
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f}"
