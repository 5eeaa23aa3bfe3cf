"""What the engine's process reports to the application.

Every request method of `EngineClient` returns a number; the events that belong to it
carry this number as `request`. A request ends with exactly one of: its answer
(`ModelLoaded`, `VideoOpened`, `Previewed`, `Refined`), `Finished`, or `Failed`. `Died`
ends all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from surgsam2.results.frame_result import FrameResult

FailureKind: TypeAlias = Literal[
    "input",  # a value, a prompt or a range that cannot be used
    "video",  # a frame or a video that cannot be read
    "checkpoint",  # weights that are missing, unreadable or of another network
    "device",  # no such device
    "memory",  # out of memory; the worker goes on
    "output",  # a temporary file cannot be written
    "install",  # a package is missing in the worker's Python environment
    "version",  # the surgsam2 there does not fit the application's
    "start",  # the process cannot be started
    "crash",  # there is no process: it was not started, or it ended
    "protocol",  # a message that is not understood
    "internal",  # an error of ours
]
"""What sort of thing went wrong, for a program; `Failed.message` is for the user."""


@dataclass(frozen=True)
class Ready:
    """The process runs and its packages are loaded."""

    python: str
    """Version, such as ``3.12.10``."""
    torch: str
    surgsam2: str
    pid: int


@dataclass(frozen=True)
class ModelLoaded:
    """The answer to `load_model`."""

    request: int
    name: str
    """Name of the configuration."""
    device: str
    """Such as ``cpu`` or ``cuda``."""
    dtype: str
    """Such as ``float32``."""
    image_size: int
    """Side of the network's square input in pixels."""
    trained: bool
    """Whether the weights come from a checkpoint."""


@dataclass(frozen=True)
class VideoOpened:
    """The answer to `open_video` and `open_frames`."""

    request: int
    source: str
    width: int
    height: int
    fps: float
    frame_count: int
    warnings: tuple[str, ...]
    """What the user should know of a damaged video; one sentence each."""


@dataclass(frozen=True, eq=False)
class FrameRead:
    """One frame of a running `read_frames`, in the order of the video."""

    request: int
    frame: int
    """Its index in the video that is open."""
    stamp: float
    """Its presentation time in seconds, frame 0 at 0."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""


@dataclass(frozen=True, eq=False)
class Previewed:
    """The answer to `preview`: what the prompts of one frame give by themselves."""

    request: int
    frame: int
    masks: dict[int, np.ndarray]
    """(H, W) bool per object id that is prompted on the frame."""
    iou: dict[int, float]
    """0..1 per object id, the model's own estimate."""
    presence: dict[int, float]
    """0..1 per object id."""


@dataclass(frozen=True, eq=False)
class Refined:
    """The answer to `refine`: the corrected mask."""

    request: int
    frame: int
    object_id: int
    mask: np.ndarray
    """(H, W) bool."""
    iou: float
    presence: float


@dataclass(frozen=True, eq=False)
class Tracked:
    """One frame of a running `track`, in the order of `segment_video`."""

    request: int
    result: FrameResult
    """Without logits: they stay in the worker."""
    done: int
    """Steps so far, this frame included. A track in both directions has more steps than frames."""
    total: int
    """Steps in all."""
    fps: float
    """Steps per second since the track began."""


@dataclass(frozen=True)
class Progress:
    """A step of `track` without a result: the backward pass of a track in both directions."""

    request: int
    done: int
    total: int
    fps: float


@dataclass(frozen=True, eq=False)
class LiveTracked:
    """A live frame that was segmented."""

    request: int
    stamp: float
    """As given with the frame."""
    result: FrameResult
    """`frame_index` counts the frames that were segmented since `start_live`."""
    dropped: int
    """Frames given since `start_live` that were passed over for newer ones."""


@dataclass(frozen=True)
class Finished:
    """A request for many frames has ended, or one was cancelled or replaced by a newer."""

    request: int
    kind: str
    """The request's method: ``track``, ``read_frames``, ``start_live``, ``preview``, ..."""
    status: Literal["complete", "cancelled"]
    done: int = 0
    """`track`: steps done."""
    total: int = 0
    """`track`: steps planned."""
    warnings: tuple[str, ...] = ()
    """What the video had to say, such as frames at the end that do not decode."""


@dataclass(frozen=True)
class Failed:
    """A request could not be carried out; the worker goes on unless `alive` says otherwise."""

    request: int | None
    """None: no particular request, such as a failed start."""
    message: str
    """One line in plain words: what is wrong and what to do."""
    kind: FailureKind


@dataclass(frozen=True)
class Died:
    """The process ended by itself. Requests that were open will not be answered."""

    exit_code: int
    """Negative: killed by the signal of this number (not on Windows)."""
    stderr_tail: str
    """The last lines the process wrote, for a report."""


Event: TypeAlias = (
    Ready
    | ModelLoaded
    | VideoOpened
    | FrameRead
    | Previewed
    | Refined
    | Tracked
    | Progress
    | LiveTracked
    | Finished
    | Failed
    | Died
)
