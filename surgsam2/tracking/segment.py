"""Segment a recorded video whose prompts are all known from the start, in any direction."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
from tqdm import tqdm

from surgsam2.errors import InputError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.encoded_frame import check_masks
from surgsam2.tracking.options import Direction, TrackingOptions
from surgsam2.tracking.plan import plan_tracking
from surgsam2.tracking.remote import RemoteSegmenter, track
from surgsam2.video import VideoSource, opened

logger = logging.getLogger(__name__)


def segment_video(
    model: SurgSAM2Model | RemoteSegmenter,
    video: VideoSource,
    prompts: PromptSet,
    start: int | None = None,
    stop: int | None = None,
    direction: Direction = "forward",
    *,
    allow_overlap: bool = False,
    progress: bool = False,
    **options: Any,
) -> Iterator[FrameResult]:
    """Segment the prompted objects in a recorded video, frame by frame.

    All prompted frames are looked at first, so that each tracked frame attends to all
    of its object's prompts, past and future, as in SAM 2. An object has masks from its
    first prompt on (`forward`), up to its last (`backward`), or in all frames (`both`).
    Memory does not grow with the video.

    Args:
        model: the model, from `load_model`, or from `connect`.
        video: a video from `open_video`, or anything that it accepts.
        prompts: what to segment.
        start: index of the first frame; None is the first frame that has masks.
        stop: index of the frame to stop before; None is the frame after the last that has
            masks. Prompts outside of the range count all the same.
        direction: `forward` gives ascending frames, `backward` descending ones. `both`
            tracks backward from each object's first prompt, then forward, and gives
            ascending frames; the first pass is complete before the first result.
        allow_overlap: whether a pixel may belong to several objects; otherwise the object with
            the higher logit gets it.
        progress: show a bar with the frames that are done on standard error.
        **options: the further options of `surgsam2.tracking.options.TrackingOptions`.

    Returns:
        An iterator of one `FrameResult` per frame, each computed when asked for.

    Raises:
        PromptError, InputError: at once, before anything is computed.
        VideoError: when a frame that cannot be decoded is reached.
    """
    if not isinstance(model, SurgSAM2Model | RemoteSegmenter):
        raise InputError(f"model must be what load_model gives, got {type(model).__name__}")
    chosen = TrackingOptions(
        start=start, stop=stop, direction=direction, allow_overlap=allow_overlap, **options
    )
    with ExitStack() as resources:
        opened_video = resources.enter_context(opened(video))
        plan = plan_tracking(opened_video, prompts, chosen)
        for warning in check_masks(model, prompts) if isinstance(model, SurgSAM2Model) else []:
            logger.warning("%s", warning)
        first_pass = resources.enter_context(closing(DiskStore()))
        steps = track(model, opened_video, prompts, plan, chosen, first_pass).run()
        bar = tqdm(total=plan.steps, unit="frame", disable=not progress)
        resources.enter_context(closing(bar))
        return _results(steps, bar, resources.pop_all())


def _results(
    steps: Generator[tuple[np.ndarray, FrameResult | None]], bar: tqdm[Any], resources: ExitStack
) -> Iterator[FrameResult]:
    with resources, closing(steps):
        for _, result in steps:
            bar.update()
            if result is not None:
                yield result
