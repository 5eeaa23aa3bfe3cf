"""What tracking needs of a model on another machine; `surgsam2.connect` gives one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.plan import TrackingPlan
from surgsam2.tracking.video_tracking import VideoTracking
from surgsam2.video import Video


class Tracking(Protocol):
    """The tracking of a recorded video; see `VideoTracking`."""

    def run(self) -> Generator[tuple[np.ndarray, FrameResult | None]]:
        """Yield the frame and the result of each step; see `VideoTracking.run`."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state; see `VideoTracking.state_dict`."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; see `VideoTracking.load_state_dict`."""


@runtime_checkable
class RemoteSegmenter(Protocol):
    """A model on another machine, which tracks a whole video there."""

    def track_video(
        self, video: Video, prompts: PromptSet, plan: TrackingPlan, options: TrackingOptions
    ) -> Tracking:
        """Return the tracking of a video.

        Args:
            video: the video, which is read here.
            prompts: the prompts of all objects.
            plan: which frames are tracked.
            options: direction, range and how masks are made.
        """


def track(
    model: SurgSAM2Model | RemoteSegmenter,
    video: Video,
    prompts: PromptSet,
    plan: TrackingPlan,
    options: TrackingOptions,
    first_pass: DiskStore,
    outputs: DiskStore | None = None,
) -> Tracking:
    """Return the tracking of a video, by a model here or on another machine.

    See `VideoTracking` for the arguments. A model on another machine keeps no outputs.
    """
    if isinstance(model, RemoteSegmenter):
        return model.track_video(video, prompts, plan, options)
    return VideoTracking(model, video, prompts, plan, options, first_pass, outputs)
