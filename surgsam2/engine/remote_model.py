"""`connect` gives a model on another machine that `segment_video` and `Tracker` accept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.engine.client.client import EngineClient
from surgsam2.engine.protocol.events import (
    ConnectionChanged,
    Died,
    Event,
    Failed,
    FailureKind,
    Finished,
    ModelLoaded,
    Progress,
    Tracked,
    VideoOpened,
)
from surgsam2.engine.remote.tokens import client_token
from surgsam2.errors import (
    CheckpointError,
    DeviceError,
    InputError,
    MissingDependencyError,
    OutputError,
    SurgSAM2Error,
    VideoError,
)
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from surgsam2.video import Video
from surgsam2.video.base import Frames

if TYPE_CHECKING:
    from surgsam2.tracking.plan import TrackingPlan
    from surgsam2.tracking.tracker import Tracker

logger = logging.getLogger(__name__)

_WAIT_SECONDS = 0.1
_ERRORS: dict[FailureKind, type[SurgSAM2Error]] = {
    "input": InputError,
    "video": VideoError,
    "checkpoint": CheckpointError,
    "output": OutputError,
    "install": MissingDependencyError,
}


def connect(
    address: str,
    model: str | ModelOptions = "demo",
    *,
    token: str | None = None,
    authorities: str | Path | None = None,
    python: str | None = None,
    **options: Any,
) -> RemoteModel:
    """Connect to an engine on another machine and load a model there.

    The result is given to `surgsam2.segment_video` or `surgsam2.Tracker` in place of a model of
    this machine. Videos are sent once, without their names.

    Args:
        address: ``ssh://user@host`` starts an engine there; ``surgsam2://host:port`` connects
            to `surgsam2 serve`.
        model: name of a model that is known there, or all options.
        token: the secret that the server knows; None takes the environment's
            ``SURGSAM2_TOKEN``, or the first one in the file that ``SURGSAM2_TOKEN_FILE`` names.
        authorities: file with certificates that are trusted besides the system's.
        python: with ssh, the command there that has surgsam2; None is ``python3``.
        options: further fields of `ModelOptions`.

    Raises:
        InputError: the address or an option is wrong, or the server does not have the model.
        CheckpointError: the weights cannot be loaded there.
        DeviceError: there is no connection, or the engine ended.
    """
    client = EngineClient(
        python,
        address=address,
        token=client_token() if token is None else token,
        authorities=authorities,
    )
    try:
        client.start()
        chosen = model if isinstance(model, ModelOptions) else ModelOptions(model=model)
        chosen = ModelOptions.from_mapping({**chosen.as_mapping(), **options})
        loaded = _wait_for(client, client.load_model(chosen), ModelLoaded)
    except BaseException:
        client.close()
        raise
    return RemoteModel(client, address, chosen, loaded)


class RemoteModel:
    """A model on another machine. `connect` makes it; use it in a ``with`` block.

    Args:
        client: a client whose engine has loaded the model; it belongs to the model.
        address: the address of the engine.
        options: the options of the model.
        loaded: the description of the model.
    """

    def __init__(
        self, client: EngineClient, address: str, options: ModelOptions, loaded: ModelLoaded
    ) -> None:
        self.address = address
        """Address of the engine."""
        self.options = options
        """Options that the model was loaded with."""
        self.name = loaded.name
        """Name of the configuration."""
        self.device = loaded.device
        """Device there, such as ``cuda``."""
        self.dtype = loaded.dtype
        """Precision there, such as ``bfloat16``."""
        self.image_size = loaded.image_size
        """Side of the network's square input in pixels."""
        self.trained = loaded.trained
        """Whether the weights come from a checkpoint."""
        self.weights = loaded.weights
        """SHA-256 of the tensors."""
        self.ended_trackers: list[int] = []
        """Numbers of trackers that are not used any more; the engine is told with the next one."""
        self._client = client
        self._opened: str | None = None

    def __repr__(self) -> str:
        return f"RemoteModel({self.name}, {self.dtype} on {self.device} at {self.address})"

    def __enter__(self) -> RemoteModel:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; the engine there forgets model and video."""
        self._client.close()

    @property
    def tracker_class(self) -> type[Tracker]:
        """The class of the trackers that `surgsam2.Tracker` makes for this model."""
        from surgsam2.engine.remote_tracker import RemoteTracker

        return RemoteTracker

    def track_video(
        self, video: Video, prompts: PromptSet, plan: TrackingPlan, options: TrackingOptions
    ) -> RemoteTracking:
        """Return the tracking of a video; `surgsam2.segment_video` calls this."""
        chosen = TrackingOptions.from_mapping(
            {**options.as_mapping(), "start": plan.start, "stop": plan.stop}
        )
        return RemoteTracking(self, video, prompts, chosen)

    def open(self, video: Video) -> None:
        """Open a video there, unless it is open already.

        A single file is sent as it is; otherwise frames are sent as they are needed.

        Raises:
            VideoError: the video cannot be read.
            DeviceError: the connection or the engine ended.
        """
        if self._opened is not None and self._opened == _identity(video):
            return
        self._opened = None
        client = self._client
        if not (_is_file(video) and self._send_file(video)):
            size = video.frame_count, video.width, video.height, video.fps
            _wait_for(client, client.open_frames(*size, lambda k: video[k]), VideoOpened)
            return
        self._opened = _identity(video)

    def _send_file(self, video: Video) -> bool:
        """Send a video file; return whether the engine reads the same frames from it."""
        request = self._client.open_video(video.files[0])
        try:
            opened = _wait_for(self._client, request, VideoOpened)
        except VideoError as error:
            logger.info("frames are sent instead of the file: %s", error)
            return False
        there = opened.width, opened.height, opened.frame_count
        return there == (video.width, video.height, video.frame_count)

    def events(self, request: Callable[[EngineClient], int]) -> Generator[Event]:
        """Make a request and yield its events until it ends.

        Args:
            request: makes the request and returns its number.
        """
        yield from _events_of(self._client, request(self._client))

    def ask(
        self, request: Callable[[EngineClient], int], kind: type[Any] | UnionType
    ) -> tuple[int, Any]:
        """Make a request and wait for its end.

        Args:
            request: makes the request and returns its number.
            kind: the class of the event that the request ends with.

        Returns:
            The number and the event.

        Raises:
            SurgSAM2Error: the request failed, or the connection or the engine ended.
        """
        while self.ended_trackers:
            number = self._client.end_tracker(self.ended_trackers.pop())
            _wait_for(self._client, number, Finished)
        number = request(self._client)
        return number, _wait_for(self._client, number, kind)

    def cancel(self) -> None:
        """Cancel what is being done there."""
        self._client.cancel()


class RemoteTracking:
    """The tracking of a recorded video by a model on another machine.

    The memories stay there. What can be saved is how many steps were done; going on from there
    computes them again on the other machine, whose results are the same, and gives those after.

    Args:
        model: the model.
        video: the video, whose frames are read here too.
        prompts: the prompts of all objects.
        options: direction, range and how masks are made.
    """

    def __init__(
        self, model: RemoteModel, video: Video, prompts: PromptSet, options: TrackingOptions
    ) -> None:
        self._model, self._video = model, video
        self._prompts, self._options = prompts, options
        self._done = 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the tracking is; see `VideoTracking.state_dict`."""
        return {"steps": self._done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; see `VideoTracking.load_state_dict`."""
        self._done = int(state["steps"])

    def run(self) -> Generator[tuple[np.ndarray, FrameResult | None]]:
        """Yield the frame and the result of each step; see `VideoTracking.run`.

        In the backward pass of direction `both` the frame is empty, (0, 0, 3).
        """
        finished, earlier = False, self._done
        self._model.open(self._video)
        events = self._model.events(lambda client: client.track(self._prompts, self._options))
        try:
            with ExitStack() as resources:
                resources.enter_context(closing(events))
                frames: Frames | None = None
                for number, event in enumerate(events, 1):
                    finished = isinstance(event, Finished)
                    if finished or number <= earlier:
                        continue
                    self._done = number
                    if isinstance(event, Progress):
                        yield np.zeros((0, 0, 3), np.uint8), None
                    elif isinstance(event, Tracked):
                        wanted = event.result.frame_index
                        if frames is None:
                            frames = resources.enter_context(closing(self._frames_from(wanted)))
                        yield next(f for index, f in frames if index == wanted), event.result
        finally:
            if not finished:
                self._model.cancel()

    def _frames_from(self, first: int) -> Frames:
        """Return the frames of the video in the order of the tracking, from one of them on."""
        options = self._options
        if options.direction == "backward":
            return self._video.frames(options.start or 0, first + 1, reverse=True)
        return self._video.frames(first, options.stop)


def _identity(video: Video) -> str:
    return f"{video.source} {video.stream}"


def _is_file(video: Video) -> bool:
    """Return whether a file alone tells the engine all about a video."""
    return len(video.files) == 1 and video.files[0].is_file() and video.stream is None


def _wait_for(client: EngineClient, request: int, kind: type[Any] | UnionType) -> Any:
    for event in _events_of(client, request):
        if isinstance(event, kind):
            return event
    raise DeviceError("the engine did not do what was asked")


def _events_of(client: EngineClient, request: int) -> Generator[Event]:
    """Wait for the events of a request and yield them, the last one included.

    Raises:
        SurgSAM2Error: the request failed, or the connection or the engine ended.
    """
    while True:
        for event in client.poll(_WAIT_SECONDS):
            if isinstance(event, ConnectionChanged):
                level = logging.WARNING if event.state in ("queued", "lost") else logging.INFO
                logger.log(level, "%s", event.message)
            elif isinstance(event, Died):
                raise DeviceError(
                    f"the engine on the other machine ended (code {event.exit_code}); try again"
                )
            elif isinstance(event, Failed) and event.request in (None, request):
                error = _ERRORS.get(event.kind, DeviceError)
                raise (error if event.request is not None else DeviceError)(event.message)
            elif getattr(event, "request", None) == request:
                yield event
                if not isinstance(event, Progress | Tracked):
                    return
