"""`EngineClient`: the application's side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.engine.client.conversation import Conversation
from surgsam2.engine.client.launch import default_python
from surgsam2.engine.client.process import ChildError
from surgsam2.engine.protocol.events import Died, Event, Failed, FailureKind
from surgsam2.engine.protocol.messages import EXPLAINED, ProtocolError
from surgsam2.engine.protocol.serialization import pack, prompts_to_wire
from surgsam2.errors import OutputError, PromptError
from surgsam2.prompts.checks import split_points

if TYPE_CHECKING:
    from surgsam2.prompts import PromptSet


class EngineClient:
    """The engine's process as an application sees it.

    Every request returns its number at once; what comes of it arrives as events from
    `poll` that carry this number. Requests are carried out in the order they are made,
    previews and corrections also between two frames of a running track or live session.
    A newer request cancels those it makes pointless: a track an earlier track or live
    session, a preview an earlier preview, a model or video everything that used the
    previous one. Requests may be made before the process is ready.

    All methods are for one thread, and none waits for the process.

    Args:
        python: interpreter of an environment that has what surgsam2 needs; None is this
            one's (`default_python`). A surgsam2 that is installed there is used, else this one.
        environment: the process's environment variables; None takes this process's own. What
            makes another Python use this one's libraries (PYTHONHOME, PYTHONPATH, ...) is
            left out. In 3D Slicer pass `slicer.util.startupEnvironment()`.
    """

    def __init__(
        self, python: str | Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._python = _absolute(python) if python else default_python()
        self._environment = environment
        self._events: list[Event] = []
        self._polling = False
        self._last = 0  # number of the latest request
        self._conversation: Conversation | None = None
        self._exit_code: int | None = None

    # the process

    @property
    def alive(self) -> bool:
        """Whether there is a process. It may still be starting: see `Ready`."""
        return self._conversation is not None

    def start(self) -> None:
        """Start the process. `Ready` follows, or `Failed`. Does nothing when it runs."""
        if self._conversation is not None:
            return
        self._exit_code = None
        try:
            self._conversation = Conversation(self._python, self._environment)
        except ChildError as error:
            self._fail(None, error.kind, str(error))

    def close(self) -> None:
        """End the process at once, whatever it is doing. No events follow."""
        self._end()
        self._events.clear()

    def restart(self) -> None:
        """A new process, without model and video; open requests are forgotten."""
        self.close()
        self.start()

    def _end(self) -> None:
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.end()

    # requests

    def load_model(self, name_or_path: str | Path = "demo", **options: Any) -> int:
        """Load a model: `ModelLoaded`.

        Args:
            name_or_path, options: as for `surgsam2.load_model`; `pruning` is an `EFP`, the
                name of its form, or ``{"form": ..., "prune": ...}``.
        """
        pruning = options.get("pruning")
        if is_dataclass(pruning) and not isinstance(pruning, type):
            options["pruning"] = asdict(pruning)
        if isinstance(options.get("config"), str | Path):
            options["config"] = _located(options["config"])
        header = {"name": _located(name_or_path), "options": options}
        return self._request("load_model", header, mutes=True)

    def open_video(self, path: str | Path) -> int:
        """Open a video file, image folder or DICOM file: `VideoOpened`."""
        return self._request("open_video", {"path": str(Path(path).absolute())}, mutes=True)

    def open_frames(
        self,
        frame_count: int,
        width: int,
        height: int,
        fps: float,
        read: Callable[[int], np.ndarray],
    ) -> int:
        """Open a video whose frames the application has: `VideoOpened`.

        Args:
            read: ``read(k)`` gives frame k, (H, W, 3) uint8 RGB; called in `poll`, some
                frames before they are needed. What it raises ends the request that
                needs the frame, with this reason.

        Raises:
            InputError: no possible size.
        """

        header = {"frame_count": int(frame_count), "fps": float(fps)}
        return self._request_with_frames(
            "open_frames",
            header,
            lambda talk, number: talk.serve_frames(number, int(width), int(height), read),
        )

    def read_frames(
        self, start: int = 0, stop: int | None = None, stride: int = 1, scale: float = 1.0
    ) -> int:
        """Decode frames of the open video: `FrameRead` per frame, then `Finished`.

        The worker waits when frames are not taken by `poll`. A newer reading cancels it.

        Args:
            start, stop, stride, scale: as for `surgsam2.video.Video.sampled`.
        """
        header = {"start": start, "stop": stop, "stride": stride, "scale": scale}
        return self._request("read_frames", header)

    def preview(self, frame: int, prompts: PromptSet) -> int:
        """The masks that the prompts on one frame give by themselves: `Previewed`."""
        header, blobs = prompts_to_wire(prompts)
        return self._request("preview", {"frame": int(frame), **header}, blobs)

    def refine(
        self,
        frame: int,
        object_id: int,
        mask: np.ndarray,
        points: Sequence[Sequence[float]] | np.ndarray,
    ) -> int:
        """Correct a mask by clicks: `Refined`. See `surgsam2.tracking.single_frame`.

        Args:
            mask: (H, W) bool, the mask to be corrected.
            points: (P, 3) rows of x, y, label; all may be negative (label 0).

        Raises:
            PromptError: the mask has not two dimensions.
        """
        painted = np.asarray(mask).astype(bool)
        if painted.ndim != 2:
            raise PromptError(f"the mask must be (H, W), got shape {painted.shape}")
        height, width = painted.shape
        header = {
            "frame": int(frame),
            "object_id": int(object_id),
            "width": width,
            "height": height,
            "points": np.column_stack(split_points(points)).tolist(),
        }
        return self._request("refine", header, [pack(painted[None]).tobytes()])

    def track(
        self,
        prompts: PromptSet,
        direction: str = "forward",
        start: int | None = None,
        stop: int | None = None,
        *,
        non_overlap: bool = False,
        fill_holes: int = 0,
    ) -> int:
        """Track as `surgsam2.segment_video` does: `Tracked` per frame, then `Finished`.

        The worker waits when results are not taken by `poll`.
        """
        header, blobs = prompts_to_wire(prompts)
        header |= {
            "direction": direction,
            "start": start,
            "stop": stop,
            "non_overlap": non_overlap,
            "fill_holes": fill_holes,
        }
        return self._request("track", header, blobs, mutes=True)

    def start_live(self, width: int, height: int) -> int:
        """Begin a live session: `LiveTracked` per segmented frame, `Finished` after `cancel`.

        The model stays loaded. After a change of the frame size, start a new session.

        Raises:
            InputError: no possible size.
        """

        return self._request_with_frames(
            "start_live", {}, lambda talk, number: talk.feed_live(number, int(width), int(height))
        )

    def live_frame(self, image: np.ndarray, stamp: float) -> None:
        """The newest frame of the live source, copied. Older ones that wait are dropped.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp: any number, such as a time; comes back with the result.

        Raises:
            InputError: the image has another size than the session, or another type.
        """
        if self._conversation is not None:
            self._conversation.live_frame(image, float(stamp))

    def live_prompts(self, prompts: PromptSet, image: np.ndarray | None = None) -> int:
        """Begin or correct objects in the live session: `Finished` or `Failed`.

        Args:
            prompts: on one frame, whose number only counts together with `image`.
            image: the (H, W, 3) uint8 RGB frame the prompts were made on, whose result had
                this `frame_index`. None: the prompts are for the next frame.
        """
        header, blobs = prompts_to_wire(prompts)
        if image is not None:
            header["image"] = list(image.shape[:2])
            blobs.append(np.ascontiguousarray(image, np.uint8).tobytes())
        return self._request("live_prompts", header, blobs)

    def live_remove(self, object_id: int) -> int:
        """Stop following an object in the live session: `Finished` or `Failed`."""
        return self._request("live_remove", {"object_id": int(object_id)})

    def cancel(self) -> None:
        """Cancel all requests that are open; each ends with `Finished`, within one frame."""
        if self._conversation is not None:
            self._conversation.muted = self._last
            self._conversation.send("cancel", {})

    def _request(
        self,
        kind: str,
        header: dict[str, Any],
        blobs: Sequence[bytes] = (),
        *,
        mutes: bool = False,
    ) -> int:
        """Number and send a request; one that `mutes` makes results on their way pointless."""
        earlier = self._last
        self._last += 1
        if self._conversation is None:
            ended = "" if self._exit_code is None else f" (it ended with code {self._exit_code})"
            text = f"the engine's process is not running{ended}; restart it and open the video anew"
            self._fail(self._last, "crash", text)
            return self._last
        if mutes:
            self._conversation.muted = earlier
        try:
            self._conversation.send(kind, {**header, "request": self._last}, blobs)
        except ProtocolError as error:
            self._fail(self._last, "input", str(error))
        return self._last

    def _request_with_frames(
        self,
        kind: str,
        header: dict[str, Any],
        prepare: Callable[[Conversation, int], dict[str, Any]],
    ) -> int:
        """A request whose frames travel through a block of memory that is made before."""
        if self._conversation is not None:
            try:
                header |= prepare(self._conversation, self._last + 1)
            except OutputError as error:
                self._last += 1
                self._fail(self._last, "output", str(error))
                return self._last
        return self._request(kind, header, mutes=True)

    def _fail(self, request: int | None, kind: FailureKind, message: str) -> None:
        self._events.append(Failed(request, message, kind))

    # events

    def poll(self, timeout: float = 0.0) -> list[Event]:
        """What has happened since. To be called often, from a timer.

        Waits at most `timeout` seconds for something to happen, then spends about 10 ms at
        most on what did, handing out frames included. An inner call, from within `read`,
        gives nothing.
        """
        if self._polling:
            return []
        self._polling = True
        try:
            if self._conversation is not None:
                self._take(self._conversation, 0.0 if self._events else timeout)
        finally:
            self._polling = False
        events, self._events = self._events, []
        return events

    def _take(self, conversation: Conversation, timeout: float) -> None:
        try:
            conversation.take(timeout, self._events)
            if self._conversation is not conversation:  # `read` may close or restart
                return
            code = conversation.child.exit_code()
        except (ChildError, ProtocolError) as error:
            self._end()
            self._fail(None, getattr(error, "kind", "protocol"), str(error))
            return
        if code is not None:
            self._exit_code, tail = code, conversation.child.stderr_tail()
            self._end()
            if not (code == EXPLAINED and conversation.explained):
                self._events.append(Died(code, tail))


def _absolute(python: str | Path) -> str:
    """An interpreter as a process in another folder finds it; a bare name is one on the PATH."""
    return str(python) if Path(python).name == str(python) else str(Path(python).absolute())


def _located(name_or_path: str | Path) -> str:
    """A file or bundle as the worker finds it, which runs in a folder of its own."""
    path = Path(name_or_path)
    is_path = isinstance(name_or_path, Path) or path.is_file() or (path / "configs").is_dir()
    return str(path.absolute() if is_path else name_or_path)
