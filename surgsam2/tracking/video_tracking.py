"""The tracking of a recorded video, which can be saved between two frames and taken up again."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Collection, Generator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import torch

from surgsam2.errors import VideoError, is_out_of_memory
from surgsam2.model.build import Encoders, SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.encoded_frame import EncodedFrame
from surgsam2.tracking.memory import MaskOutput
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.output_store import keep_outputs, load_outputs
from surgsam2.tracking.plan import TrackingPlan
from surgsam2.tracking.postprocess import make_result
from surgsam2.tracking.prefetch import prefetch_frames
from surgsam2.tracking.tracker import Tracker
from surgsam2.video import Video

logger = logging.getLogger(__name__)


class VideoTracking:
    """Tracks all prompted objects of a recorded video.

        with closing(tracking.run()) as steps:
            for frame, result in steps:
                ...

    Args:
        model: the model, from `load_model`.
        video: the video.
        prompts: the prompts of all objects.
        plan: which frames are tracked, from `plan_tracking`.
        options: how masks are made and which memories are kept; direction and range do not
            count, `plan` has them.
        first_pass: keeps the backward pass of direction `both`. It belongs to the caller, and
            must hold the same when a saved state is loaded.
        outputs: keeps the outputs that the masks are made of; see `keep_outputs`. It belongs to
            the caller. None keeps none.
    """

    def __init__(
        self,
        model: SurgSAM2Model,
        video: Video,
        prompts: PromptSet,
        plan: TrackingPlan,
        options: TrackingOptions,
        first_pass: DiskStore,
        outputs: DiskStore | None = None,
    ) -> None:
        self._model = model
        self._video = video
        self._prompts = prompts
        self._plan = plan
        self._options = options
        self._first_pass = first_pass
        self._outputs = outputs
        self._reverse = plan.direction == "backward"
        self._in_first_pass = plan.direction == "both"
        self._tracker: Tracker | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return where the tracking is, as a copy on the CPU that can be saved.

        The state is right between two frames: while `run` waits for its next frame to be asked
        for. See `Tracker.state_dict` for what it consists of.
        """
        tracker = None if self._tracker is None else self._tracker.state_dict()
        state = {"first_pass": self._in_first_pass, "tracker": tracker}
        copied: dict[str, Any] = copy_to_cpu(state)
        return copied

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a tracking of the same model, video, prompts and plan.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: the data is not such a state. The
                tracking stays as it was.
            InputError: as `Tracker.load_state_dict`.
        """
        in_first_pass, tracker = state["first_pass"], None
        if state["tracker"] is not None:
            tracker = self._new_tracker(0, reverse=self._reverse or in_first_pass)
            tracker.load_state_dict(state["tracker"])
            at = tracker.frame_index
            if not self._plan.start - 1 <= at <= self._plan.stop:
                raise ValueError(f"frame {at} is outside of the plan")
        self._in_first_pass, self._tracker = in_first_pass, tracker

    def run(self) -> Generator[tuple[np.ndarray, FrameResult | None]]:
        """Track from where the tracking is to its end.

        Yields:
            For each of the plan's `steps`, the frame, (H, W, 3) uint8 RGB, and its result. The
            result is None in the backward pass of direction `both`, which comes first.

        Raises:
            VideoError: a prompted frame cannot be decoded.
        """
        with closing(self._model.encoder_pool()) as encoders:
            if self._in_first_pass:
                yield from self._track_before_first_prompts(encoders)
                self._in_first_pass, self._tracker = False, None
            yield from self._track(encoders)

    def _track(self, encoders: Encoders) -> Generator[tuple[np.ndarray, FrameResult]]:
        """Track the frames of the plan, with the outputs of the first pass where there was one."""
        plan, size = self._plan, (self._video.width, self._video.height)
        if self._tracker is None:
            first = plan.stop - 1 if self._reverse else plan.start
            self._tracker = self._new_tracker(first, reverse=self._reverse)
            self._condition(self._tracker)
        tracker = self._tracker
        at = tracker.frame_index
        first, last = (plan.start, at + 1) if self._reverse else (at, plan.stop)
        unneeded = tracker.untracked_frames(range(first, last))
        object_ids = [obj.id for obj in self._prompts]
        with closing(self._prefetched(encoders, first, last, tracker.reverse, unneeded)) as frames:
            for index, frame in frames:
                began = time.perf_counter()
                backward = {}
                if plan.direction == "both":
                    backward = load_outputs(self._first_pass, index, self._model.device)
                # Masks are made here too: PyTorch's other threads would take the encoders' cores.
                with encoders.sharing_cores():
                    outputs = backward | self._advance(tracker, index, frame)
                    ordered = {i: outputs[i] for i in object_ids if i in outputs}
                    result = make_result(index, ordered, size, self._options, began)
                if self._outputs is not None and ordered:
                    keep_outputs(self._outputs, index, ordered)
                yield frame.pixels, result

    def _track_before_first_prompts(self, encoders: Encoders) -> Generator[tuple[np.ndarray, None]]:
        """Track each object backward from its first prompt and keep the outputs on disk.

        Overlaps with the objects of the forward pass are resolved with their masks.
        """
        plan = self._plan
        if self._tracker is None:
            self._tracker = self._new_tracker(min(plan.turn, plan.stop) - 1, reverse=True)
        tracker = self._tracker
        waiting = {
            obj.id: obj.prompts[0].frame
            for obj in self._prompts
            if obj.id not in tracker.object_ids
        }
        last = tracker.frame_index + 1
        # The object that is prompted last is tracked on all frames, so all features are needed.
        with closing(self._prefetched(encoders, plan.start, last, True, ())) as frames:
            for index, frame in frames:
                if due := [i for i, first in waiting.items() if first > index]:
                    self._condition(tracker, due)
                    waiting = {i: first for i, first in waiting.items() if i not in due}
                with encoders.sharing_cores():
                    outputs = self._advance(tracker, index, frame)
                if outputs:
                    keep_outputs(self._first_pass, index, outputs)
                yield frame.pixels, None

    def _prefetched(
        self,
        encoders: Encoders,
        first: int,
        last: int,
        reverse: bool,
        unneeded: Collection[int],
    ) -> Generator[tuple[int, EncodedFrame]]:
        """Yield the index and the frame of a range of the video; see `prefetch_frames`."""
        return prefetch_frames(
            self._video,
            first,
            last,
            reverse=reverse,
            encoders=encoders,
            model=self._model,
            unneeded=unneeded,
        )

    def _new_tracker(self, first_frame: int, *, reverse: bool) -> Tracker:
        return Tracker(
            self._model,
            self._video.width,
            self._video.height,
            first_frame=first_frame,
            reverse=reverse,
            frame_count=self._video.frame_count,
            options=self._options,
        )

    def _condition(self, tracker: Tracker, only: Collection[int] | None = None) -> None:
        """Show the tracker every frame on which an object of `only` is prompted.

        Raises:
            VideoError: such a frame cannot be decoded.
        """
        chosen = [obj for obj in self._prompts if only is None or obj.id in only]
        for index in sorted({prompt.frame for obj in chosen for prompt in obj.prompts}):
            try:
                frame = self._video[index]
            except IndexError as error:
                ids = ", ".join(map(str, self._prompts.on_frame(index)))
                raise VideoError(
                    f"{self._video.source}: frame {index}, where object {ids} is prompted, cannot "
                    f"be decoded; only {self._video.frame_count} frames can. Prompt on one of those"
                ) from error
            tracker.condition(frame, index, self._prompts, only)

    def _advance(self, tracker: Tracker, index: int, frame: EncodedFrame) -> dict[int, MaskOutput]:
        """Track one frame. When memory runs out, free what can be freed and try once more."""
        tracker.frame_index = index  # Frames at the end of a damaged video may be missing.
        try:
            return tracker.advance(frame)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error) or type(error).__name__
        # Outside of the except block, because the error's traceback holds the step's tensors.
        logger.warning("out of memory, trying the frame again (frame %d: %s)", index, reason)
        gc.collect()
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        return tracker.advance(frame)


def copy_to_cpu(value: Any) -> Any:
    """Copy plain data so that none of its tensors shares memory with the original.

    Dictionaries, lists and tuples are copied (tuples become lists); tensors come to the CPU
    with their strides.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().clone().cpu()
    if isinstance(value, dict):
        return {key: copy_to_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copy_to_cpu(item) for item in value]
    return value
