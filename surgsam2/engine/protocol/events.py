"""What the engine process reports to the application.

Every request method of `EngineClient` returns a number; the events that belong to it
carry this number as `request`. A request ends with exactly one of: its own event
(`ModelLoaded`, `VideoOpened`, `Previewed`, `Refined`, `Stepped`, `TrackerChanged`),
`Finished`, or `Failed`. `Died` ends all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from surgsam2.engine.protocol.fields import Image, Mask
from surgsam2.engine.protocol.messages import Message
from surgsam2.results.frame_result import FrameResult

FailureKind: TypeAlias = Literal[
    "input",  # a value, a prompt or a range cannot be used
    "video",  # a frame or a video cannot be read
    "checkpoint",  # weights are missing, unreadable or of another network
    "device",  # the device does not exist
    "memory",  # memory ran out; the engine process goes on
    "output",  # a temporary file cannot be written
    "install",  # a package is missing in the engine's Python environment
    "version",  # the surgsam2 there does not fit the application's
    "start",  # the engine process cannot be started
    "crash",  # there is no engine process: it was not started, or it ended
    "protocol",  # a message cannot be understood
    "internal",  # an error that surgsam2 does not foresee
]
"""The kind of a failure, for programs; `Failed.message` is for the user."""


@dataclass(frozen=True)
class Ready(Message):
    """The engine process runs and its packages are loaded."""

    python: str
    """Version of its Python, such as ``3.12.10``."""
    torch: str
    """Version of its PyTorch."""
    surgsam2: str
    """Version of its surgsam2."""
    pid: int
    """Its process id."""


@dataclass(frozen=True)
class ConnectionChanged(Message):
    """The connection to an engine on another machine was made, lost, or waits for its turn.

    An engine on this machine reports only ``silent``, and ``connected`` when it answers again.
    """

    state: Literal["connecting", "queued", "connected", "lost", "silent"]
    """``lost`` means that it is being restored, ``silent`` that the process runs and does nothing;
    requests stay open meanwhile."""
    message: str
    """One line in plain words for the user."""


@dataclass(frozen=True)
class ModelLoaded(Message):
    """The model of a `load_model` request is ready."""

    request: int
    name: str
    """Name of the configuration."""
    device: str
    """Device that the model runs on, such as ``cpu`` or ``cuda``."""
    dtype: str
    """Precision of the arithmetic, such as ``float32``."""
    image_size: int
    """Side of the network's square input in pixels."""
    trained: bool
    """Whether the weights come from a checkpoint."""
    weights: str | None = None
    """SHA-256 of the tensors, from an engine on another machine; None from one on this."""


@dataclass(frozen=True)
class VideoOpened(Message):
    """The video of an `open_video` or `open_frames` request is open."""

    request: int
    source: str
    """Name of the video for messages, often its path."""
    width: int
    """Width of a frame in pixels."""
    height: int
    """Height of a frame in pixels."""
    fps: float
    """Frames per second."""
    frame_count: int
    warnings: tuple[str, ...]
    """What the user should know about a damaged video; one sentence each."""


@dataclass(frozen=True, eq=False)
class FrameRead(Message):
    """One frame of a running `read_frames`, in the order of the video."""

    large: ClassVar[bool] = True
    request: int
    frame: int
    """Index of the frame in the open video, from 0."""
    stamp: float
    """Presentation time in seconds; frame 0 has time 0."""
    image: Image
    """(H, W, 3) uint8 RGB."""


@dataclass(frozen=True, eq=False)
class Previewed(Message):
    """The masks that the prompts of one frame give by themselves."""

    request: int
    frame: int
    """Index of the frame."""
    masks: dict[int, Mask]
    """(H, W) bool for each object id that has a prompt on the frame."""
    iou: dict[int, float]
    """IoU with the true mask that the model predicts, 0 to 1, by object id."""
    presence: dict[int, float]
    """Probability that the object is visible, 0 to 1, by object id."""


@dataclass(frozen=True, eq=False)
class Refined(Message):
    """The corrected mask of a `refine` request."""

    request: int
    frame: int
    """Index of the frame."""
    object_id: int
    mask: Mask
    """(H, W) bool."""
    iou: float
    """IoU with the true mask that the model predicts, 0 to 1."""
    presence: float
    """Probability that the object is visible, 0 to 1."""


@dataclass(frozen=True, eq=False)
class Tracked(Message):
    """One frame of a running `track`, in the order of `segment_video`."""

    large: ClassVar[bool] = True
    request: int
    result: FrameResult
    """The result of the frame, without logits, which stay in the engine process."""
    done: int
    """Steps so far, this frame included. A track in both directions has more steps than frames."""
    total: int
    """Planned number of steps."""
    fps: float
    """Steps per second since the track began."""


@dataclass(frozen=True)
class Progress(Message):
    """A step of `track` without a result: the backward pass of a track in both directions."""

    request: int
    done: int
    """Steps so far."""
    total: int
    """Planned number of steps."""
    fps: float
    """Steps per second since the track began."""


@dataclass(frozen=True, eq=False)
class LiveTracked(Message):
    """A live frame was segmented."""

    large: ClassVar[bool] = True
    request: int
    stamp: float
    """The stamp that was given with the frame."""
    result: FrameResult
    """`frame_index` counts the frames that were segmented since `start_live`."""
    dropped: int
    """Number of frames since `start_live` that were dropped in favour of newer ones."""


@dataclass(frozen=True, eq=False)
class Stepped(Message):
    """A tracker that is given one frame after another has segmented one."""

    large: ClassVar[bool] = True
    request: int
    result: FrameResult
    """The result of the frame, without logits."""
    object_ids: tuple[int, ...]
    """The objects that have been prompted, in that order."""


@dataclass(frozen=True)
class TrackerChanged(Message):
    """A tracker was made or changed without a frame to segment."""

    request: int
    object_ids: tuple[int, ...]
    """The objects that have been prompted, in that order."""


@dataclass(frozen=True)
class Finished(Message):
    """A request for many frames has ended, or a request was cancelled or replaced by a newer."""

    request: int
    kind: str
    """The request's method: ``track``, ``read_frames``, ``start_live``, ``preview``, ..."""
    status: Literal["complete", "cancelled"]
    done: int = 0
    """Steps that a `track` request has done."""
    total: int = 0
    """Steps that a `track` request had planned."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the video, such as frames at the end that do not decode."""


@dataclass(frozen=True)
class Failed(Message):
    """A request could not be carried out. Whether the process goes on, `alive` says."""

    request: int | None
    """None when it is about no particular request, such as a failed start."""
    message: str
    """One line in plain words: what is wrong and what to do."""
    kind: FailureKind


@dataclass(frozen=True)
class Died(Message):
    """The engine process ended by itself. Open requests get no other event."""

    exit_code: int
    """Exit code; a negative one is the number of a signal (not on Windows)."""
    stderr_tail: str
    """The last lines that the process wrote, for a report."""


Event: TypeAlias = (
    Ready
    | ConnectionChanged
    | ModelLoaded
    | VideoOpened
    | FrameRead
    | Previewed
    | Refined
    | Tracked
    | Progress
    | LiveTracked
    | Stepped
    | TrackerChanged
    | Finished
    | Failed
    | Died
)
"""Everything that `EngineClient.poll` can return."""

SENT_EVENTS: tuple[type[Message], ...] = (
    Ready,
    ModelLoaded,
    VideoOpened,
    FrameRead,
    Previewed,
    Refined,
    Tracked,
    Progress,
    LiveTracked,
    Stepped,
    TrackerChanged,
    Finished,
    Failed,
)
"""The events that the engine process sends. The application finds out the others itself."""
