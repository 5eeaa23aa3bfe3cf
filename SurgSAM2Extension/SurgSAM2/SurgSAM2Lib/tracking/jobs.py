"""What can be asked of the engine: a preview, a correction, a track."""

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
    """One request to the worker and what became of it."""

    status: Status = field(default="waiting", init=False)
    error: str = field(default="", init=False)
    """Why it failed, in plain words."""
    on_end: Callable[[], None] | None = field(default=None, init=False)
    """Called once, after the status has become its last one."""

    def send(self, client: EngineClient) -> int:
        """Ask the worker; the number of the request."""
        raise NotImplementedError

    def receive(self, event: Event) -> bool:
        """Take an event of the request; True for its answer, which ends the job."""
        raise NotImplementedError

    def end(self, status: Status, error: str = "") -> None:
        self.status, self.error = status, error
        if self.on_end is not None:
            self.on_end()

    @property
    def ended(self) -> bool:
        return self.status in ("complete", "cancelled", "failed")


@dataclass(eq=False)
class PreviewJob(Job):
    """The masks that the prompts of one frame give by themselves."""

    frame: int
    prompts: PromptSet
    show: Callable[[int, dict[int, np.ndarray]], None]
    """Called with the frame and the (H, W) bool masks by object id."""

    def send(self, client: EngineClient) -> int:
        return client.preview(self.frame, self.prompts)

    def receive(self, event: Event) -> bool:
        if isinstance(event, Previewed):
            self.show(event.frame, event.masks)
            return True
        return False


@dataclass(eq=False)
class RefineJob(Job):
    """A mask corrected by clicks."""

    frame: int
    object_id: int
    mask: np.ndarray
    points: np.ndarray
    """(P, 3): x, y, label."""
    take: Callable[[np.ndarray], None]
    """Called with the corrected (H, W) bool mask."""

    def send(self, client: EngineClient) -> int:
        return client.refine(self.frame, self.object_id, self.mask, self.points)

    def receive(self, event: Event) -> bool:
        if isinstance(event, Refined):
            self.take(event.mask)
            return True
        return False


@dataclass(frozen=True)
class TrackOptions:
    """What `track` of the worker takes besides the prompts."""

    direction: str = "forward"
    start: int | None = None
    stop: int | None = None
    non_overlap: bool = True
    fill_holes: int = 0


@dataclass(eq=False)
class TrackJob(Job):
    """Prompts followed through the video."""

    prompts: PromptSet
    options: TrackOptions
    write: Callable[[Tracked], None]
    """Called with every frame's result."""
    done: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    fps: float = field(default=0.0, init=False)

    def send(self, client: EngineClient) -> int:
        options = self.options
        return client.track(
            self.prompts,
            TrackingOptions(
                direction=options.direction,  # type: ignore[arg-type]
                start=options.start,
                stop=options.stop,
                allow_overlap=not options.non_overlap,
                fill_holes=options.fill_holes,
            ),
        )

    def receive(self, event: Event) -> bool:
        if isinstance(event, Tracked | Progress):
            self.done, self.total, self.fps = event.done, event.total, event.fps
        if isinstance(event, Tracked):
            self.write(event)
        return False

    @property
    def seconds_left(self) -> float | None:
        """At the present speed; None before it is known."""
        return (self.total - self.done) / self.fps if self.fps > 0 else None
