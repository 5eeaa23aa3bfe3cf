"""The engine's process as the page's sessions use it, one session after the other.

The process runs on this machine or on another one. It and its model stay when the page goes on to
another video. A process that ends is started anew; one that says nothing is reported, and the page
offers to start it anew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from surgsam2.annotate.consent import Consent
from surgsam2.engine import (
    ConnectionChanged,
    Died,
    EngineClient,
    Event,
    Failed,
    Finished,
    ModelLoaded,
    Previewed,
    Ready,
    Refined,
    VideoOpened,
)
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.model.options import ModelOptions
from surgsam2.tracking.options import TrackingOptions
from surgsam2.video import Video

Take = Callable[[Event], None]
_LAST = (Failed, Finished, Previewed, Refined, ModelLoaded, VideoOpened)
"""After one of these events no other event of the same request follows."""


class EngineUser(Protocol):
    """What the link tells the session that it works for."""

    def report(self, event: dict[str, Any]) -> None:
        """Pass an event on to the page."""

    def interrupted(self) -> None:
        """End what the session waits for: the process ended, its requests are lost."""


class EngineLink:
    """The process, its model, the video that it has open, and the requests in progress.

    Args:
        client: the client of the engine's process.
        model: which model the engine loads.
        consent: the person's consent to an engine on another machine; nothing is sent before.
        tracking: how the engine tracks; a command of the page sets direction and range.
    """

    def __init__(
        self,
        client: EngineClient,
        model: ModelOptions,
        consent: Consent | None = None,
        tracking: TrackingOptions = TrackingOptions(),  # noqa: B008 - immutable
    ) -> None:
        self.model = model
        self.tracking = tracking
        self.consent = consent
        self.pid: int | None = None
        """The number of the engine's process, once it runs."""
        self.ready = False
        """Whether the model is loaded and the video open."""
        self.status = "starting the engine"
        """What the engine does, or why it cannot."""
        self.notice = ""
        """A line for the user as long as the engine does not answer; else empty."""
        self._client = client
        self._user: EngineUser | None = None
        self._source: Path | None = None
        self._video: Video | None = None
        self._has_model = False
        self._requests: dict[int, Take] = {}
        self._track: int | None = None

    @property
    def can_preview(self) -> bool:
        """Whether the engine is ready and nothing waits for it; a track leaves it time."""
        return self.ready and all(number == self._track for number in self._requests)

    @property
    def wanted_consent(self) -> str:
        """The address that the person has to agree to before anything is sent; else empty."""
        return self.consent.address if self.consent is not None and self.consent.needed else ""

    def agree(self) -> None:
        """Take the person's consent, and start the process.

        Raises:
            OutputError: the consent cannot be remembered.
        """
        if self.consent is not None and self.consent.needed:
            self.consent.give()
            self.start()

    def use(self, user: EngineUser, source: Path, video: Video) -> None:
        """Work for a session from now on, with its video.

        Args:
            user: the session.
            source: the path of the video, which the engine opens itself, or is sent.
            video: the video, whose frames are sent if another machine cannot have it as one file.
        """
        self._user, self._source, self._video = user, source, video
        self._requests = {n: take for n, take in self._requests.items() if take == self._take_model}
        if self._client.alive and (self._has_model or self._requests):
            self._open_video()
        else:
            self.start()

    def start(self) -> None:
        """Start the process, or start it anew; it loads the model and opens the video."""
        self.pid, self._has_model, self.ready = None, False, False
        self._set_notice("")
        if self.wanted_consent:
            self._set_status("waiting for your consent")
            return
        self._client.restart()
        self._requests = {self._client.load_model(self.model): self._take_model}
        self._open_video()

    def close(self) -> None:
        """End the process."""
        self._client.close()

    def track(self, request: Callable[[EngineClient], int], take: Take) -> None:
        """Ask for a track, as `ask` does; previews are made between its frames."""
        self._track = self.ask(request, take)

    def ask(self, request: Callable[[EngineClient], int], take: Take) -> int:
        """Ask the engine for something.

        Args:
            request: makes the request and returns its number.
            take: takes every event of the request, `Failed` as well.

        Returns:
            The number of the request.

        Raises:
            InputError: the engine is not ready, or may not be used yet.
        """
        if self.wanted_consent:
            raise InputError(
                f"the engine at {self.wanted_consent} is used once you agree that the video is "
                "sent there; reload the page to be asked"
            )
        if not self._client.alive:
            self.start()
        if not self.ready:
            raise InputError(f"the engine is not ready yet ({self.status}); try again in a moment")
        number = request(self._client)
        self._requests[number] = take
        return number

    def cancel(self) -> None:
        """Cancel what the engine does."""
        self._client.cancel()

    def poll(self) -> None:
        """Take what the engine reports, without waiting."""
        for event in self._client.poll(0.0):
            self._take(event)

    def _open_video(self) -> None:
        assert self._source is not None
        assert self._video is not None
        video = self._video
        self.ready = False
        self._set_status("opening the video" if self._has_model else "loading the model")
        if self.consent is None or self._source.is_file():
            request = self._client.open_video(self._source)
        else:
            size = (video.frame_count, video.width, video.height, video.fps)
            request = self._client.open_frames(*size, lambda index: video[index])
        self._requests[request] = self._take_video

    def _take(self, event: Event) -> None:
        if isinstance(event, Ready):
            self.pid = event.pid
        elif isinstance(event, ConnectionChanged):
            self._set_notice("" if event.state == "connected" else event.message)
        elif isinstance(event, Died):
            self._restart_after(event)
        else:
            self._take_answer(event)

    def _restart_after(self, event: Died) -> None:
        self.restart()
        self._fail(
            f"the engine stopped unexpectedly (exit code {event.exit_code}); it is started "
            "anew, and everything so far is kept"
        )

    def restart(self) -> None:
        """Start the process anew; what it was asked is given up."""
        self._requests.clear()
        self._interrupt()
        self.start()

    def _take_answer(self, event: Event) -> None:
        request = getattr(event, "request", None)
        take = None if request is None else self._requests.get(request)
        if request is not None and isinstance(event, _LAST):
            self._requests.pop(request, None)
        if isinstance(event, Failed):
            if not self._client.alive:  # the connection is lost for good
                self.ready = False
                self._requests.clear()
                self._set_notice("")
                self._interrupt()
            if not self.ready:
                self._set_status(event.message)
            self._fail(event.message)
        if take is None:
            return
        try:
            take(event)
        except SurgSAM2Error as error:  # The disk refuses, for example.
            self._client.cancel()
            self._fail(str(error))

    def _take_model(self, event: Event) -> None:
        self._has_model = isinstance(event, ModelLoaded)
        if self._has_model:
            self._set_status("opening the video")

    def _take_video(self, event: Event) -> None:
        if isinstance(event, VideoOpened) and self._has_model:
            self.ready = True
            self._set_status("ready")

    def _set_status(self, status: str) -> None:
        self.status = status
        self._report({"type": "status", "status": status, "ready": self.ready})

    def _set_notice(self, notice: str) -> None:
        if notice != self.notice:
            self.notice = notice
            self._report({"type": "engine", "notice": notice})

    def _fail(self, message: str) -> None:
        self._report({"type": "error", "message": message})

    def _interrupt(self) -> None:
        if self._user is not None:
            self._user.interrupted()

    def _report(self, event: dict[str, Any]) -> None:
        if self._user is not None:
            self._user.report(event)
