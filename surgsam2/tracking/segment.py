"""`segment_video`: recorded video, all prompts known from the start, in any direction."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from surgsam2.errors import InputError, VideoError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.results import FrameResult
from surgsam2.spool import Spool
from surgsam2.tracking.memory import MaskOutput
from surgsam2.tracking.postprocess import MaskOptions, make_result
from surgsam2.tracking.tracker import Tracker
from surgsam2.video import open_video

if TYPE_CHECKING:
    from surgsam2.video import Video

Direction = Literal["forward", "backward", "both"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)


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
    options = MaskOptions(non_overlap, fill_holes)
    opened = open_video(video)
    with ExitStack() as mine:
        if opened is not video:
            mine.enter_context(opened)
        plan = plan_tracking(opened, prompts, start, stop, direction)
        frames = track(model, opened, prompts, plan, options)
        return _results(frames, mine.pop_all())


def _results(
    frames: Generator[tuple[np.ndarray, FrameResult]], resources: ExitStack
) -> Iterator[FrameResult]:
    with resources, closing(frames):
        for _, result in frames:
            yield result


@dataclass(frozen=True)
class TrackingPlan:
    """Which frames are tracked in which direction."""

    start: int
    stop: int
    direction: Direction
    turn: int
    """`both`: frames before this index are tracked backward too (for some object)."""

    @property
    def frames(self) -> int:
        """Results there will be."""
        return self.stop - self.start

    @property
    def steps(self) -> int:
        """Frames to be run through the tracker, both passes together."""
        return self.frames + max(0, min(self.turn, self.stop) - self.start)


def plan_tracking(
    video: Video,
    prompts: PromptSet,
    start: int | None = None,
    stop: int | None = None,
    direction: Direction = "forward",
) -> TrackingPlan:
    """Check prompts and range against the video.

    Raises:
        PromptError: the prompts do not fit the video, or none of them reaches the range.
        InputError: unknown direction, or an empty range or one beyond the video.
    """
    if direction not in DIRECTIONS:
        raise InputError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}")
    prompts.validate(video.width, video.height, video.frame_count)
    first, last, count = prompts.frames[0], prompts.frames[-1], video.frame_count
    begin = start if start is not None else first if direction == "forward" else 0
    end = stop if stop is not None else last + 1 if direction == "backward" else count
    if not 0 <= begin < end <= count:
        raise InputError(
            f"frame range start {begin}, stop {end} is empty or outside the video: "
            f"it has frames 0 to {count - 1}, and stop is not included"
        )
    if direction == "forward" and first >= end:
        raise InputError(
            f"stop {end} is not after the first prompt (frame {first}), so a forward track has "
            "nothing to do; raise stop, or use direction backward or both"
        )
    if direction == "backward" and last < begin:
        raise InputError(
            f"start {begin} is after the last prompt (frame {last}), so a backward track has "
            "nothing to do; lower start, or use direction forward or both"
        )
    turn = max(obj.prompts[0].frame for obj in prompts.objects) if direction == "both" else 0
    return TrackingPlan(begin, end, direction, turn)


def track(
    model: SurgSAM2Model,
    video: Video,
    prompts: PromptSet,
    plan: TrackingPlan,
    options: MaskOptions,
    on_step: Callable[[], None] = lambda: None,
) -> Generator[tuple[np.ndarray, FrameResult]]:
    """Carry out a plan: pairs of frame ((H, W, 3) uint8 RGB) and result.

    Args:
        on_step: called after each of the plan's `steps`; for a result, when the next one
            is asked for.
    """
    size = (video.width, video.height)
    reverse = plan.direction == "backward"
    with closing(Spool()) as earlier:
        if plan.direction == "both":
            _track_before_first_prompts(model, video, prompts, plan, earlier, on_step)
        tracker = _tracker(model, video, plan.stop - 1 if reverse else plan.start, reverse)
        _condition(tracker, video, prompts)
        with closing(video.frames(plan.start, plan.stop, reverse=reverse)) as frames:
            for index, frame in frames:
                began = time.perf_counter()
                tracker.frame_index = index  # the end of a damaged video may be missing
                outputs = _restore(earlier, index, model.device) | tracker.advance(frame)
                ordered = {obj.id: outputs[obj.id] for obj in prompts if obj.id in outputs}
                result = make_result(index, ordered, size, options)
                yield frame, replace(result, milliseconds=(time.perf_counter() - began) * 1000)
                on_step()


def _tracker(model: SurgSAM2Model, video: Video, first_frame: int, reverse: bool) -> Tracker:
    return Tracker(
        model,
        video.width,
        video.height,
        first_frame=first_frame,
        reverse=reverse,
        frame_count=video.frame_count,
    )


def _condition(
    tracker: Tracker, video: Video, prompts: PromptSet, only: Collection[int] | None = None
) -> None:
    """Look at the prompted frames, each once."""
    chosen = [obj for obj in prompts if only is None or obj.id in only]
    for index in sorted({prompt.frame for obj in chosen for prompt in obj.prompts}):
        try:
            frame = video[index]
        except IndexError as error:
            ids = ", ".join(map(str, prompts.on_frame(index)))
            raise VideoError(
                f"{video.source}: frame {index}, where object {ids} is prompted, cannot be "
                f"decoded; only {video.frame_count} frames can. Prompt on one of those"
            ) from error
        tracker.condition(frame, index, prompts, only)


def _track_before_first_prompts(
    model: SurgSAM2Model,
    video: Video,
    prompts: PromptSet,
    plan: TrackingPlan,
    spool: Spool,
    on_step: Callable[[], None],
) -> None:
    """Each object backward from its first prompt; outputs go to the spool.

    They are kept as the network's own logits, so that overlaps with the objects of the
    forward pass are resolved as if all had been tracked at once.
    """
    waiting = {obj.id: obj.prompts[0].frame for obj in prompts}
    top = min(plan.turn, plan.stop)
    tracker = _tracker(model, video, top - 1, reverse=True)
    with closing(video.frames(plan.start, top, reverse=True)) as frames:
        for index, frame in frames:
            if due := [i for i, first in waiting.items() if first > index]:
                _condition(tracker, video, prompts, due)
                waiting = {i: first for i, first in waiting.items() if i not in due}
            tracker.frame_index = index
            outputs = tracker.advance(frame)
            if outputs:
                _store(spool, index, outputs)
            on_step()


def _store(spool: Spool, index: int, outputs: dict[int, MaskOutput]) -> None:
    spool.put(
        index,
        ids=np.array(list(outputs)),
        low_res=torch.cat([o.low_res for o in outputs.values()]).cpu().numpy(),
        scores=torch.stack([o.scores for o in outputs.values()]).cpu().numpy(),
    )


def _restore(spool: Spool, index: int, device: torch.device) -> dict[int, MaskOutput]:
    if index not in spool:
        return {}
    arrays = spool.get(index)
    low_res = torch.from_numpy(arrays["low_res"]).to(device)
    scores = torch.from_numpy(arrays["scores"]).to(device)
    return {
        int(object_id): MaskOutput(low_res[row : row + 1], scores[row])
        for row, object_id in enumerate(arrays["ids"])
    }
