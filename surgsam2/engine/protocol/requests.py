"""What the application asks the engine process for, and how frames travel between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from surgsam2.engine.protocol.events import SENT_EVENTS
from surgsam2.engine.protocol.fields import Image, Mask
from surgsam2.engine.protocol.messages import Message, Request
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import PromptSet
from surgsam2.tracking.options import TrackingOptions


@dataclass(frozen=True)
class LoadModel(Request):
    """Load a model; `ModelLoaded` follows."""

    options: ModelOptions


@dataclass(frozen=True)
class OpenVideo(Request):
    """Open a video that the engine process can read; `VideoOpened` follows."""

    path: str
    """Absolute path of a video file, an image folder or a DICOM file."""


@dataclass(frozen=True)
class OpenFrames(Request):
    """Open a video whose frames the application has; `VideoOpened` follows."""

    frame_count: int
    width: int
    """Width of a frame in pixels."""
    height: int
    """Height of a frame in pixels."""
    fps: float
    """Frames per second."""


@dataclass(frozen=True)
class OpenUpload(Request):
    """Send a video file and open it; `VideoOpened` follows. The name of the file is not sent."""

    sha256: str
    """SHA-256 of the file, 64 hexadecimal digits."""
    size: int
    """Size of the file in bytes."""
    suffix: str
    """Ending of the file's name, such as ``.mp4``."""


@dataclass(frozen=True)
class ReadFrames(Request):
    """Decode frames of the open video; `FrameRead` for each, then `Finished`."""

    start: int
    """First frame, from 0."""
    stop: int | None
    """Frame to stop before; None is the end of the video."""
    stride: int
    """Distance between two frames that are decoded."""
    scale: float
    """Factor for width and height, above 0 and up to 1."""


@dataclass(frozen=True, eq=False)
class Preview(Request):
    """Segment one frame by its prompts alone; `Previewed` follows."""

    frame: int
    """Index of the frame, from 0."""
    prompts: PromptSet


@dataclass(frozen=True, eq=False)
class Refine(Request):
    """Correct a mask by clicks; `Refined` follows."""

    frame: int
    """Index of the frame, from 0."""
    object_id: int
    mask: Mask
    """(H, W) bool, the mask to correct."""
    points: tuple[tuple[float, ...], ...]
    """Rows of x, y in pixels and label (1 adds to the object, 0 takes away)."""


@dataclass(frozen=True, eq=False)
class Track(Request):
    """Follow the prompted objects through the open video; `Tracked` each, then `Finished`."""

    prompts: PromptSet
    options: TrackingOptions


@dataclass(frozen=True)
class StartLive(Request):
    """Begin a live session; `LiveTracked` for each segmented frame, `Finished` at its end."""

    width: int
    """Width of a frame in pixels."""
    height: int
    """Height of a frame in pixels."""
    options: TrackingOptions


@dataclass(frozen=True, eq=False)
class LivePrompts(Request):
    """Begin or correct objects of the live session; `Finished` follows."""

    prompts: PromptSet
    image: Image | None
    """(H, W, 3) uint8 RGB frame that the prompts were made on; None is the next frame."""


@dataclass(frozen=True)
class LiveRemove(Request):
    """Stop following an object of the live session; `Finished` follows."""

    object_id: int


@dataclass(frozen=True)
class StartTracker(Request):
    """Make a tracker that is given one frame after another; `TrackerChanged` follows.

    The number of this request names the tracker in those about it.
    """

    width: int
    """Width of a frame in pixels."""
    height: int
    """Height of a frame in pixels."""
    reverse: bool
    """Whether frames come in descending order."""
    frame_count: int | None
    """Length of the video in frames, if it is known."""
    options: TrackingOptions


@dataclass(frozen=True, eq=False)
class StepTracker(Request):
    """Segment the next frame of a tracker; `Stepped` follows."""

    large: ClassVar[bool] = True
    tracker: int
    frame: int
    """Index of the frame."""
    image: Image
    """(H, W, 3) uint8 RGB."""
    prompts: PromptSet | None


@dataclass(frozen=True, eq=False)
class ConditionTracker(Request):
    """Show a tracker a prompted frame; `TrackerChanged` follows."""

    large: ClassVar[bool] = True
    tracker: int
    frame: int
    """Index of the frame."""
    image: Image
    """(H, W, 3) uint8 RGB."""
    prompts: PromptSet
    only: tuple[int, ...] | None
    """Ids of the objects that are meant; None means all that are prompted there."""


@dataclass(frozen=True)
class RemoveFromTracker(Request):
    """Make a tracker forget an object; `TrackerChanged` follows."""

    tracker: int
    frame: int
    """Index of the tracker's next frame."""
    object_id: int


@dataclass(frozen=True)
class ForgetPrompted(Request):
    """Make a tracker forget prompted frames; `TrackerChanged` follows."""

    tracker: int
    newest: int
    """Number of prompted frames that each object keeps besides its first."""


@dataclass(frozen=True)
class EndTracker(Request):
    """Forget a tracker; `Finished` follows."""

    tracker: int


@dataclass(frozen=True)
class Cancel(Message):
    """Cancel all open requests; each ends with `Finished`."""


@dataclass(frozen=True)
class FrameWanted(Message):
    """The engine process needs a frame of the application's video."""

    video: int
    """Number of the request that opened the video."""
    ticket: int
    """Number that comes back with the frame."""
    index: int
    """Index of the frame, from 0."""


@dataclass(frozen=True, eq=False)
class FrameGiven(Message):
    """The frame that `FrameWanted` asked for, or the reason why there is none."""

    large: ClassVar[bool] = True
    video: int
    ticket: int
    image: Image | None
    """(H, W, 3) uint8 RGB, or None when it cannot be read."""
    problem: str | None
    """Why it cannot be read."""


@dataclass(frozen=True, eq=False)
class LiveFrame(Message):
    """A frame of the live source."""

    large: ClassVar[bool] = True
    live: int
    """Number of the request that began the live session."""
    stamp: float
    """Any finite number, which comes back with the result."""
    image: Image
    """(H, W, 3) uint8 RGB."""


@dataclass(frozen=True, eq=False)
class LivePicture(Message):
    """A frame of the live source as a JPEG file, for an engine on another machine."""

    large: ClassVar[bool] = True
    live: int
    """Number of the request that began the live session."""
    stamp: float
    """Any finite number, which comes back with the result."""
    data: bytes
    """The bytes of the JPEG file."""


@dataclass(frozen=True)
class ChunkWanted(Message):
    """The engine process needs a part of a file that the application sends."""

    upload: int
    """Number of the `OpenUpload` request."""
    offset: int
    """Position of the part in the file, in bytes."""
    length: int
    """Length of the part in bytes."""


@dataclass(frozen=True, eq=False)
class Chunk(Message):
    """The part of a file that `ChunkWanted` asked for, or the reason why there is none."""

    large: ClassVar[bool] = True
    upload: int
    """Number of the `OpenUpload` request."""
    offset: int
    """Position of the part in the file, in bytes."""
    data: bytes
    """The bytes; none when the file cannot be read."""
    problem: str | None
    """Why the file cannot be read."""


@dataclass(frozen=True)
class LiveCredit(Message):
    """The engine process can take so many more live frames."""

    live: int
    """Number of the request that began the live session."""
    frames: int


@dataclass(frozen=True)
class Alive(Message):
    """The engine process on this machine sends it every second, whatever it computes."""


REQUESTS: tuple[type[Request], ...] = (
    LoadModel,
    OpenVideo,
    OpenFrames,
    OpenUpload,
    ReadFrames,
    Preview,
    Refine,
    Track,
    StartLive,
    LivePrompts,
    LiveRemove,
    StartTracker,
    StepTracker,
    ConditionTracker,
    RemoveFromTracker,
    ForgetPrompted,
    EndTracker,
)
"""All requests."""
TO_ENGINE: tuple[type[Message], ...] = (
    *REQUESTS,
    Cancel,
    FrameGiven,
    LiveFrame,
    LivePicture,
    Chunk,
)
"""The messages that the application sends."""
FROM_ENGINE: tuple[type[Message], ...] = (
    *SENT_EVENTS,
    FrameWanted,
    LiveCredit,
    ChunkWanted,
    Alive,
)
"""The messages that the engine process sends after its `Hello`."""
