"""`segment_video`: recorded video, all prompts known from the start, in any direction."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from surgsam2.errors import InputError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.encoded_frame import refuse_vanishing_masks
from surgsam2.tracking.plan import Direction, plan_tracking
from surgsam2.tracking.postprocess import MaskOptions
from surgsam2.tracking.run import TrackingRun
from surgsam2.video import open_video


def segment_video(
    model: SurgSAM2Model,
    video: Any,
    prompts: PromptSet,
    start: int | None = None,
    stop: int | None = None,
    direction: Direction = "forward",
    *,
    non_overlap: bool = False,
    fill_holes: int = 0,
) -> Iterator[FrameResult]:
    """Segment the prompted objects in a recorded video, frame by frame.

    All prompted frames are looked at first, so that each tracked frame attends to all
    of its object's prompts, past and future, as in SAM 2. An object has masks from its
    first prompt on (`forward`), up to its last (`backward`), or in all frames (`both`).
    Memory does not grow with the video.

    Args:
        model: from `load_model`.
        video: from `open_video`, or anything it accepts.
        prompts: what to segment.
        start, stop: frame range ``start <= index < stop``; None is the range in which
            there are masks. Prompts outside it count all the same.
        direction: `forward` gives ascending frames, `backward` descending ones. `both`
            tracks backward from each object's first prompt, then forward, and gives
            ascending frames; the first pass is complete before the first result.
        non_overlap: give each pixel to at most one object.
        fill_holes: fill holes of up to this many low-resolution pixels.

    Returns:
        An iterator of one `FrameResult` per frame, each computed when asked for.

    Raises:
        PromptError, InputError: at once, before anything is computed.
        VideoError: where a frame cannot be decoded.
    """
    if not isinstance(model, SurgSAM2Model):
        raise InputError(f"model must be what load_model gives, got {type(model).__name__}")
    options = MaskOptions(non_overlap, fill_holes)
    opened = open_video(video)
    with ExitStack() as mine:
        if opened is not video:
            mine.enter_context(opened)
        plan = plan_tracking(opened, prompts, start, stop, direction)
        refuse_vanishing_masks(model, prompts)
        earlier = mine.enter_context(closing(DiskStore()))
        frames = TrackingRun(model, opened, prompts, plan, options, earlier).results()
        return _results(frames, mine.pop_all())


def _results(
    frames: Generator[tuple[np.ndarray, FrameResult]], resources: ExitStack
) -> Iterator[FrameResult]:
    with resources, closing(frames):
        for _, result in frames:
            yield result
