"""`EngineClient`: the engine as an application uses it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.engine.client.arguments import interpreter, model_options
from surgsam2.engine.client.engine_process import EngineProcess
from surgsam2.engine.client.launch import default_python
from surgsam2.engine.client.session import Session
from surgsam2.engine.protocol.events import Died, Event, Failed, FailureKind
from surgsam2.engine.protocol.framing import EXPLAINED, ProtocolError
from surgsam2.engine.protocol.messages import Request
from surgsam2.engine.protocol.requests import (
    Cancel,
    ConditionTracker,
    EndTracker,
    ForgetPrompted,
    LivePrompts,
    LiveRemove,
    LoadModel,
    OpenFrames,
    OpenVideo,
    Preview,
    ReadFrames,
    Refine,
    RemoveFromTracker,
    StartLive,
    StartTracker,
    StepTracker,
    Track,
)
from surgsam2.engine.remote.address import Address
from surgsam2.engine.remote.channel import ServerChannel
from surgsam2.engine.remote.dialing import Dialer, SshDialer, TcpDialer
from surgsam2.engine.remote.remote_engine import RemoteEngine
from surgsam2.engine.transport.base import EngineError, Transport
from surgsam2.errors import InputError, OutputError, PromptError
from surgsam2.model.options import ModelOptions
from surgsam2.prompts.checks import split_points
from surgsam2.tracking.options import TrackingOptions

if TYPE_CHECKING:
    from surgsam2.prompts import PromptSet


class EngineClient:
    """The engine process as an application uses it.

    Every request returns its number at once; what comes of it arrives as events from
    `poll` that carry this number. Requests are carried out in the order they are made;
    previews and corrections also between two frames of a running track or live session.
    A newer request cancels those it makes pointless: a track cancels an earlier track or
    live session, a preview an earlier preview, a model or video everything that used the
    previous one. Requests may be made before the process is ready.

    All methods are for one thread, and none waits for the process.

    Args:
        python: interpreter of an environment that has what surgsam2 needs; None is this
            one's (`default_python`). A surgsam2 that is installed there is used, else this one.
        environment: the process's environment variables; None takes this process's own. What
            makes another Python use this one's libraries (PYTHONHOME, PYTHONPATH, ...) is
            left out. In 3D Slicer pass `slicer.util.startupEnvironment()`.
        address: address of an engine on another machine, ``ssh://user@host`` or
            ``surgsam2://host:port``; None is this machine. Videos are then sent there once.
            With ssh, `python` is the command there that has surgsam2.
        token: the secret that the server knows.
        authorities: file with certificates that are trusted besides the system's.

    Raises:
        InputError: the address is none.
    """

    def __init__(
        self,
        python: str | Path | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        address: str | None = None,
        token: str = "",
        authorities: str | Path | None = None,
    ) -> None:
        self._python = python
        self._environment = environment
        self._address = None if address is None else Address.parse(address)
        self._token = token
        self._authorities = None if authorities is None else Path(authorities)
        self._events: list[Event] = []
        self._polling = False
        self._last = 0  # number of the latest request
        self._session: Session | None = None
        self._exit_code: int | None = None

    # the process

    @property
    def alive(self) -> bool:
        """Whether there is a process. It may still be starting: see `Ready`."""
        return self._session is not None

    @property
    def pending(self) -> bool:
        """Whether `poll` has events to return without waiting."""
        return bool(self._events)

    @property
    def transport(self) -> Transport | None:
        """The connection to the engine; None when there is no process."""
        return None if self._session is None else self._session.transport

    def start(self) -> None:
        """Start the process. `Ready` follows, or `Failed`. Does nothing when it runs."""
        if self._session is not None:
            return
        self._exit_code = None
        try:
            self._session = Session(self._connect())
        except EngineError as error:
            self._fail(None, error.kind, str(error))

    def _connect(self) -> Transport:
        if self._address is None:
            python = interpreter(self._python) if self._python else default_python()
            return EngineProcess(python, self._environment)
        if self._address.scheme == "ssh":
            python = str(self._python or "python3")
            dialer: Dialer = SshDialer(self._address, python, self._environment)
            token = secrets.token_hex(32)  # of this session alone
        else:
            dialer, token = TcpDialer(self._address, self._authorities), self._token
        return RemoteEngine(ServerChannel(str(self._address), dialer, token))

    def close(self) -> None:
        """End the process at once, whatever it is doing. No events follow."""
        self._end()
        self._events.clear()

    def restart(self) -> None:
        """Start a new process, without model and video; open requests are forgotten."""
        self.close()
        self.start()

    def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()

    # requests

    def load_model(self, name_or_path: str | Path | ModelOptions = "demo", **options: Any) -> int:
        """Load a model; `ModelLoaded` follows.

        Args:
            name_or_path: all options of the model, or its name, checkpoint file or bundle folder.
            options: with a name or path, further fields of `ModelOptions`; `pruning` may also
                be an `EFP` or ``{"form": ..., "prune": ...}``.
        """
        number = self._next_number()
        try:
            chosen = model_options(name_or_path, options, self._address is None)
        except (InputError, TypeError) as error:
            return self._refuse(number, "input", str(error))
        return self._request(LoadModel(number, chosen), supersedes=True)

    def open_video(self, path: str | Path) -> int:
        """Open a video file, image folder or DICOM file; `VideoOpened` follows.

        An engine on another machine gets the file itself, without its name, unless it has it.
        """
        number, file = self._next_number(), Path(path).absolute()
        if self._session is None or not self._session.transport.is_remote:
            return self._request(OpenVideo(number, str(file)), supersedes=True)
        self._session.unwanted, self._last = self._last, number
        try:
            self._session.upload(number, file)
        except InputError as error:
            return self._refuse(number, "input", str(error))
        return number

    def open_frames(
        self,
        frame_count: int,
        width: int,
        height: int,
        fps: float,
        read: Callable[[int], np.ndarray],
    ) -> int:
        """Open a video whose frames the application has; `VideoOpened` follows.

        Args:
            frame_count: number of frames.
            width: width of a frame in pixels.
            height: height of a frame in pixels.
            fps: frames per second.
            read: ``read(k)`` returns frame k, (H, W, 3) uint8 RGB; called in `poll`, some
                frames before they are needed. What it raises ends the request that
                needs the frame, with this reason.

        Raises:
            InputError: the size is not positive.
        """
        number, size = self._next_number(), (int(width), int(height))
        if self._session is not None:
            self._session.serve_frames(number, *size, read)
        request = OpenFrames(number, int(frame_count), *size, float(fps))
        return self._request(request, supersedes=True)

    def read_frames(
        self, start: int = 0, stop: int | None = None, stride: int = 1, scale: float = 1.0
    ) -> int:
        """Decode frames of the open video: `FrameRead` for each, then `Finished`.

        The engine waits when frames are not taken by `poll`. A newer reading cancels it.

        Args:
            start: first frame, from 0.
            stop: frame to stop before; None is the end of the video.
            stride: distance between two frames that are decoded.
            scale: factor for width and height, above 0 and up to 1.
        """
        return self._request(ReadFrames(self._next_number(), start, stop, stride, scale))

    def preview(self, frame: int, prompts: PromptSet) -> int:
        """Segment one frame by its prompts alone; `Previewed` follows."""
        return self._request(Preview(self._next_number(), int(frame), prompts))

    def refine(
        self,
        frame: int,
        object_id: int,
        mask: np.ndarray,
        points: Sequence[Sequence[float]] | np.ndarray,
    ) -> int:
        """Correct a mask by clicks; `Refined` follows. See `surgsam2.tracking.single_frame`.

        Args:
            frame: index of the frame, from 0.
            object_id: the object.
            mask: (H, W) bool, the mask to correct.
            points: (P, 3) rows of x, y in pixels and label; all may be negative (label 0).

        Raises:
            PromptError: the mask does not have two dimensions.
        """
        painted = np.asarray(mask).astype(bool)
        if painted.ndim != 2:
            raise PromptError(f"the mask must be (H, W), got shape {painted.shape}")
        rows = tuple(map(tuple, np.column_stack(split_points(points)).tolist()))
        number = self._next_number()
        return self._request(Refine(number, int(frame), int(object_id), painted, rows))

    def track(self, prompts: PromptSet, options: TrackingOptions | None = None) -> int:
        """Track as `surgsam2.segment_video` does: `Tracked` per frame, then `Finished`.

        The engine waits when results are not taken by `poll`.

        Args:
            prompts: the objects and where they are.
            options: direction, range and how masks are made; None takes the defaults, where
                masks do not overlap.
        """
        options = options or TrackingOptions()
        return self._request(Track(self._next_number(), prompts, options), supersedes=True)

    def start_live(self, width: int, height: int, options: TrackingOptions | None = None) -> int:
        """Begin a live session: `LiveTracked` per segmented frame, `Finished` after `cancel`.

        The model stays loaded. After a change of the frame size, start a new session.

        Args:
            width: width of the frames in pixels.
            height: height of the frames in pixels.
            options: how masks are made and which memories are kept; direction and range have no
                effect. None takes the defaults, where masks do not overlap.

        Raises:
            InputError: the size is not positive.
        """
        number, size = self._next_number(), (int(width), int(height))
        if self._session is not None:
            self._session.feed_live(number, *size)
        request = StartLive(number, *size, options or TrackingOptions())
        return self._request(request, supersedes=True)

    def live_frame(self, image: np.ndarray, stamp: float) -> None:
        """Send the newest frame of the live source, copied. Older ones that wait are dropped.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp: any finite number, such as a time; comes back with the result.

        Raises:
            InputError: the image has another size than the session, or another type.
            OutputError: there is no room for the image.
        """
        if self._session is not None:
            self._session.live_frame(image, float(stamp))

    def live_prompts(self, prompts: PromptSet, image: np.ndarray | None = None) -> int:
        """Begin or correct objects in the live session; `Finished` or `Failed` follows.

        Args:
            prompts: on one frame, whose number only counts together with `image`.
            image: the (H, W, 3) uint8 RGB frame the prompts were made on, whose result had
                this `frame_index`. None: the prompts are for the next frame.
        """
        return self._request(LivePrompts(self._next_number(), prompts, image))

    def live_remove(self, object_id: int) -> int:
        """Stop following an object in the live session; `Finished` or `Failed` follows."""
        return self._request(LiveRemove(self._next_number(), int(object_id)))

    def start_tracker(
        self,
        width: int,
        height: int,
        options: TrackingOptions,
        *,
        reverse: bool = False,
        frame_count: int | None = None,
    ) -> int:
        """Make a `surgsam2.Tracker` there; `TrackerChanged` follows. The number names it.

        Args:
            width: width of a frame in pixels.
            height: height of a frame in pixels.
            options: how masks are made and which memories are kept.
            reverse: whether frames come in descending order.
            frame_count: length of the video in frames, if it is known.
        """
        number = self._next_number()
        return self._request(StartTracker(number, width, height, reverse, frame_count, options))

    def step_tracker(
        self, tracker: int, frame: int, image: np.ndarray, prompts: PromptSet | None = None
    ) -> int:
        """Segment a frame by `Tracker.step`; `Stepped` follows.

        Args:
            tracker: number of the tracker.
            frame: index of the frame.
            image: (H, W, 3) uint8 RGB.
            prompts: as for `Tracker.step`.
        """
        return self._request(StepTracker(self._next_number(), tracker, frame, image, prompts))

    def condition_tracker(
        self,
        tracker: int,
        frame: int,
        image: np.ndarray,
        prompts: PromptSet,
        only: tuple[int, ...] | None = None,
    ) -> int:
        """Show a tracker a prompted frame by `Tracker.condition`; `TrackerChanged` follows.

        Args:
            tracker: number of the tracker.
            frame: index of the frame.
            image: (H, W, 3) uint8 RGB.
            prompts: the prompts of this frame are used.
            only: ids of the objects that are meant; None means all that are prompted there.
        """
        number = self._next_number()
        return self._request(ConditionTracker(number, tracker, frame, image, prompts, only))

    def remove_from_tracker(self, tracker: int, frame: int, object_id: int) -> int:
        """Forget an object by `Tracker.remove_object`; `TrackerChanged` follows.

        Args:
            tracker: number of the tracker.
            frame: index of its next frame.
            object_id: the object.
        """
        return self._request(RemoveFromTracker(self._next_number(), tracker, frame, object_id))

    def forget_prompted(self, tracker: int, newest: int) -> int:
        """Bound the prompted frames of a tracker by `Tracker.forget_prompted`."""
        return self._request(ForgetPrompted(self._next_number(), tracker, newest))

    def end_tracker(self, tracker: int) -> int:
        """Forget a tracker; `Finished` follows."""
        return self._request(EndTracker(self._next_number(), tracker))

    def cancel(self) -> None:
        """Cancel all requests that are open; each ends with `Finished`, within one frame."""
        if self._session is not None:
            self._session.unwanted = self._last
            self._session.send(Cancel())

    def _next_number(self) -> int:
        return self._last + 1

    def _request(self, request: Request, *, supersedes: bool = False) -> int:
        """Send a request; one that `supersedes` others makes their results unwanted."""
        earlier, self._last = self._last, request.request
        if self._session is None:
            ended = "" if self._exit_code is None else f" (it ended with code {self._exit_code})"
            text = f"the engine process is not running{ended}; restart it and open the video anew"
            return self._refuse(self._last, "crash", text)
        if supersedes:
            self._session.unwanted = earlier
        try:
            self._session.send(request)
        except ProtocolError as error:
            return self._refuse(self._last, "input", str(error))
        return self._last

    def _refuse(self, number: int, kind: FailureKind, message: str) -> int:
        self._last = number
        self._fail(number, kind, message)
        return number

    def _fail(self, request: int | None, kind: FailureKind, message: str) -> None:
        self._events.append(Failed(request, message, kind))

    # events

    def poll(self, timeout: float = 0.0) -> list[Event]:
        """Return what has happened since the last call. To be called often, from a timer.

        It waits for something to happen, then works about 10 ms at most on what did; the
        frames that the engine asks for are read here. An inner call, from within `read`,
        returns nothing.

        Args:
            timeout: seconds to wait at most.
        """
        if self._polling:
            return []
        self._polling = True
        try:
            if self._session is not None:
                self._take(self._session, 0.0 if self._events else timeout)
        finally:
            self._polling = False
        events, self._events = self._events, []
        return events

    def _take(self, session: Session, timeout: float) -> None:
        try:
            session.take(timeout, self._events)
            if self._session is not session:  # `read` may close or restart
                return
            code = session.transport.exit_code()
        except (EngineError, ProtocolError) as error:
            self._end()
            self._fail(None, getattr(error, "kind", "protocol"), str(error))
            return
        except OutputError as error:  # a live frame has no room
            self._fail(None, "output", str(error))
            return
        if code is not None:
            self._exit_code, tail = code, session.transport.stderr_tail()
            self._end()
            if not (code == EXPLAINED and session.explained):
                self._events.append(Died(code, tail))
