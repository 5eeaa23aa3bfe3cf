"""Jobs for the engine: a preview, a correction, a track."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from surgsam2.engine import EngineClient, Event, Previewed, Progress, Refined, Tracked
from surgsam2.prompts import PromptSet
from surgsam2.tracking.options import TrackingOptions

Status = Literal["waiting", "running", "complete", "cancelled", "failed"]


@dataclass(eq=False)
class Job:
    """One request to the engine process and its state.

    Attributes:
        status: how far the job is.
        error: why it failed; empty unless it did.
        on_end: called once, after `status` has become its last value.
    """

    status: Status = field(default="waiting", init=False)
    error: str = field(default="", init=False)
    on_end: Callable[[], None] | None = field(default=None, init=False)

    def send(self, client: EngineClient) -> int:
        """Send the request and return its number."""
        raise NotImplementedError

    def receive(self, event: Event) -> bool:
        """Take an event of the request; return True when it ends the job."""
        raise NotImplementedError

    def end(self, status: Status, error: str = "") -> None:
        """Set the last status and call `on_end`."""
        self.status, self.error = status, error
        if self.on_end is not None:
            self.on_end()

    @property
    def ended(self) -> bool:
        """Whether the job is complete, cancelled or failed."""
        return self.status in ("complete", "cancelled", "failed")


@dataclass(eq=False)
class PreviewJob(Job):
    """Computes the masks that the prompts of one frame give by themselves.

    Attributes:
        frame: index of the frame.
        prompts: the prompts of that frame.
        show: called with the frame and its masks, (H, W) bool by object id.
    """

    frame: int
    prompts: PromptSet
    show: Callable[[int, dict[int, np.ndarray]], None]

    def send(self, client: EngineClient) -> int:
        """Send the request and return its number."""
        return client.preview(self.frame, self.prompts)

    def receive(self, event: Event) -> bool:
        """Take the masks; return True when they came."""
        if isinstance(event, Previewed):
            self.show(event.frame, event.masks)
            return True
        return False


@dataclass(eq=False)
class RefineJob(Job):
    """Corrects a mask by clicks.

    Attributes:
        frame: index of the frame.
        object_id: id of the object.
        mask: the mask before the first click, (H, W) bool.
        points: all clicks, (P, 3) rows of x, y, label.
        take: called with the corrected mask, (H, W) bool.
    """

    frame: int
    object_id: int
    mask: np.ndarray
    points: np.ndarray
    take: Callable[[np.ndarray], None]

    def send(self, client: EngineClient) -> int:
        """Send the request and return its number."""
        return client.refine(self.frame, self.object_id, self.mask, self.points)

    def receive(self, event: Event) -> bool:
        """Take the corrected mask; return True when it came."""
        if isinstance(event, Refined):
            self.take(event.mask)
            return True
        return False


@dataclass(eq=False)
class TrackJob(Job):
    """Follows prompts through the video.

    Attributes:
        prompts: the prompts to follow.
        options: direction, frames and how masks are made.
        write: called with the result of every frame.
        undo: the step of the history that undoes the track.
        done: number of frames that are done.
        total: number of frames in all; 0 before it is known.
        fps: frames per second; 0 before it is known.
    """

    prompts: PromptSet
    options: TrackingOptions
    write: Callable[[Tracked], None]
    undo: object = None
    done: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    fps: float = field(default=0.0, init=False)

    def send(self, client: EngineClient) -> int:
        """Send the request and return its number."""
        return client.track(self.prompts, self.options)

    def receive(self, event: Event) -> bool:
        """Take a frame's result or the progress; the engine itself says when it has ended."""
        if isinstance(event, Tracked | Progress):
            self.done, self.total, self.fps = event.done, event.total, event.fps
        if isinstance(event, Tracked):
            self.write(event)
        return False

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the present speed; None before it is known."""
        return (self.total - self.done) / self.fps if self.fps > 0 else None
