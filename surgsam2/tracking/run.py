"""A plan being carried out: it can be saved between two frames and taken up again."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Collection, Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from surgsam2.errors import VideoError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.cpu.parallel import Crew
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.encoded_frame import EncodedFrame
from surgsam2.tracking.memory import MaskOutput
from surgsam2.tracking.plan import TrackingPlan
from surgsam2.tracking.postprocess import MaskOptions, make_result
from surgsam2.tracking.prefetch import read_ahead
from surgsam2.tracking.state import detached, restore_tracker, tracker_state
from surgsam2.tracking.tracker import Tracker
from surgsam2.video import Video

logger = logging.getLogger(__name__)


class TrackingRun:
    """Tracks all prompted objects of a recorded video.

    Args:
        model, video, prompts, plan, options: what to do.
        earlier: takes the first pass of direction `both`. It belongs to the caller, and
            must hold the same when the run is taken up again.
        state: what `state` gave, to go on from there.

    Raises:
        KeyError, TypeError, ValueError: `state` is not one.
    """

    def __init__(
        self,
        model: SurgSAM2Model,
        video: Video,
        prompts: PromptSet,
        plan: TrackingPlan,
        options: MaskOptions,
        earlier: DiskStore,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._model = model
        self._video = video
        self._prompts = prompts
        self._plan = plan
        self._options = options
        self._earlier = earlier
        self._reverse = plan.direction == "backward"
        self._first_pass = plan.direction == "both"
        self._tracker: Tracker | None = None
        if state is not None:
            self._first_pass = state["first_pass"]
            self._tracker = self._new_tracker(0)
            restore_tracker(self._tracker, state["tracker"])

    def state(self) -> dict[str, Any]:
        """Where the run is, as plain data on the CPU. Right between two steps only."""
        assert self._tracker is not None
        return detached({"first_pass": self._first_pass, "tracker": tracker_state(self._tracker)})

    def results(
        self, on_step: Callable[[], None] = lambda: None
    ) -> Generator[tuple[np.ndarray, FrameResult]]:
        """Pairs of frame ((H, W, 3) uint8 RGB) and result, from where the run is.

        Args:
            on_step: called after each of the plan's `steps`; for a result, when the next one
                is asked for.
        """
        with closing(Crew(self._model)) as crew:
            if self._first_pass:
                self._track_before_first_prompts(crew, on_step)
                self._first_pass, self._tracker = False, None
            yield from self._track(crew, on_step)

    def _track(
        self, crew: Crew, on_step: Callable[[], None]
    ) -> Generator[tuple[np.ndarray, FrameResult]]:
        plan, size = self._plan, (self._video.width, self._video.height)
        if self._tracker is None:
            self._tracker = self._new_tracker(plan.stop - 1 if self._reverse else plan.start)
            self._condition(self._tracker)
        tracker = self._tracker
        at = tracker.frame_index
        first, last = (plan.start, at + 1) if self._reverse else (at, plan.stop)
        with closing(self._ahead(crew, tracker, first, last, tracker.needs_features)) as frames:
            for index, work in frames:
                began = time.perf_counter()
                earlier = _restore(self._earlier, index, self._model.device)
                with crew.tracking():
                    outputs = earlier | self._advance(tracker, index, work)
                    ordered = {o.id: outputs[o.id] for o in self._prompts if o.id in outputs}
                    # PyTorch's other threads, once woken, spin on and keep the encoders waiting
                    result = make_result(index, ordered, size, self._options)
                milliseconds = (time.perf_counter() - began) * 1000
                yield work.frame, replace(result, milliseconds=milliseconds)
                on_step()

    def _track_before_first_prompts(self, crew: Crew, on_step: Callable[[], None]) -> None:
        """Each object backward from its first prompt; outputs go to the spool.

        They are kept as the network's own logits, so that overlaps with the objects of the
        forward pass are resolved as if all had been tracked at once.
        """
        plan = self._plan
        if self._tracker is None:
            self._tracker = self._new_tracker(min(plan.turn, plan.stop) - 1)
        tracker = self._tracker
        waiting = {
            obj.id: obj.prompts[0].frame
            for obj in self._prompts
            if obj.id not in tracker.object_ids
        }
        last = tracker.frame_index + 1
        # the object that is prompted last is tracked on all of them
        with closing(self._ahead(crew, tracker, plan.start, last, lambda _: True)) as frames:
            for index, work in frames:
                if due := [i for i, first in waiting.items() if first > index]:
                    self._condition(tracker, due)
                    waiting = {i: first for i, first in waiting.items() if i not in due}
                with crew.tracking():
                    outputs = self._advance(tracker, index, work)
                if outputs:
                    _store(self._earlier, index, outputs)
                on_step()

    def _ahead(
        self, crew: Crew, tracker: Tracker, first: int, last: int, needed: Callable[[int], bool]
    ) -> Generator[tuple[int, EncodedFrame]]:
        return read_ahead(
            self._video,
            first,
            last,
            reverse=tracker.reverse,
            crew=crew,
            encoded=tracker.encoded,
            needed=needed,
        )

    def _new_tracker(self, first_frame: int) -> Tracker:
        return Tracker(
            self._model,
            self._video.width,
            self._video.height,
            first_frame=first_frame,
            reverse=self._reverse or self._first_pass,
            frame_count=self._video.frame_count,
        )

    def _condition(self, tracker: Tracker, only: Collection[int] | None = None) -> None:
        """Look at the prompted frames, each once."""
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

    def _advance(self, tracker: Tracker, index: int, work: EncodedFrame) -> dict[int, MaskOutput]:
        """One step. Out of memory is met once per frame: free what can be freed, try again."""
        tracker.frame_index = index  # the end of a damaged video may be missing
        before = tracker_state(tracker)
        try:
            return tracker.advance(work)
        except (torch.OutOfMemoryError, MemoryError) as error:
            reason = str(error) or type(error).__name__
        # outside the except block: the error's traceback held the step's tensors
        logger.warning("out of memory, trying the frame again (frame %d: %s)", index, reason)
        restore_tracker(tracker, before)
        gc.collect()
        if tracker.model.device.type == "cuda":
            torch.cuda.empty_cache()
        return tracker.advance(work)


def _store(spool: DiskStore, index: int, outputs: dict[int, MaskOutput]) -> None:
    spool.put(
        index,
        ids=np.array(list(outputs)),
        low_res=torch.cat([o.low_res for o in outputs.values()]).cpu().numpy(),
        scores=torch.stack([o.scores for o in outputs.values()]).cpu().numpy(),
    )


def _restore(spool: DiskStore, index: int, device: torch.device) -> dict[int, MaskOutput]:
    if index not in spool:
        return {}
    arrays = spool.get(index)
    low_res = torch.from_numpy(arrays["low_res"]).to(device)
    scores = torch.from_numpy(arrays["scores"]).to(device)
    return {
        int(object_id): MaskOutput(low_res[row : row + 1], scores[row])
        for row, object_id in enumerate(arrays["ids"])
    }
