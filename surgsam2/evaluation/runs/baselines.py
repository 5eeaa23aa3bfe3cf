"""Two trivial trackers as baselines. A tracker that is not better is not worth its cost.

* `CopyFirstMask` repeats each object's first true mask on every later frame.
* `FlowFirstMask` moves the same mask along dense optical flow (OpenCV's DIS).

Both start from the full true mask, whatever the prompt setting of the models they are
compared with, and neither notices when an object leaves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from surgsam2.evaluation.report.record import run_record
from surgsam2.evaluation.runs.cost import Stopwatch
from surgsam2.evaluation.runs.tracking import Progress, score_results
from surgsam2.evaluation.truth.datasets import Truth
from surgsam2.evaluation.truth.sequences import Scan
from surgsam2.results.frame_result import FrameResult

if TYPE_CHECKING:
    from surgsam2.video import Video


class CopyFirstMask:
    """Baseline that repeats the first mask of each object on every later frame."""

    name = "first mask copied"
    needs_frames = False

    def __init__(self) -> None:
        self._masks: dict[int, np.ndarray] = {}

    def step(self, frame: np.ndarray, new: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Return the masks of all objects so far.

        Args:
            frame: Not read.
            new: Object id -> (H, W) bool first mask of the objects that start on this frame.
        """
        self._masks.update({object_id: mask.copy() for object_id, mask in new.items()})
        return dict(self._masks)


class FlowFirstMask:
    """Baseline that moves the first mask of each object along the optical flow.

    The flow from each frame back to the one before is accumulated, per pixel, to a
    position in the object's first frame, where the mask is read. Positions are
    interpolated and the mask is not, so its outline is not blurred by thousands of
    warps. Objects that start on the same frame share one map of positions.
    """

    name = "first mask by optical flow"
    needs_frames = True

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._previous: np.ndarray | None = None
        self._grid = np.zeros((0, 0, 2), np.float32)
        self._starts: list[tuple[dict[int, np.ndarray], np.ndarray]] = []

    def step(self, frame: np.ndarray, new: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Return the masks of all objects on the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            new: Object id -> (H, W) bool first mask of the objects that start on this frame.
        """
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if self._previous is None:
            x, y = np.meshgrid(np.arange(grey.shape[1]), np.arange(grey.shape[0]))
            self._grid = np.stack([x, y], axis=-1).astype(np.float32)
        elif self._starts:
            back = self._grid + self._flow.calc(grey, self._previous, np.zeros((0, 0)))
            self._starts = [
                (masks, _look_up(origin, back, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE))
                for masks, origin in self._starts
            ]
        self._previous = grey
        if new:
            masks = {object_id: mask.astype(np.uint8) for object_id, mask in new.items()}
            self._starts.append((masks, self._grid.copy()))
        carried = {}
        for masks, origin in self._starts:
            for object_id, mask in masks.items():
                # Positions outside the first frame have no object.
                found = _look_up(mask, origin, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
                carried[object_id] = found.astype(np.bool_)
        return carried


def _look_up(image: np.ndarray, positions: np.ndarray, how: int, border: int) -> np.ndarray:
    """Sample `image` at (H, W, 2) float32 positions (x, y), with OpenCV's codes for the rest."""
    x, y = np.ascontiguousarray(positions[..., 0]), np.ascontiguousarray(positions[..., 1])
    return np.asarray(cv2.remap(image, x, y, how, borderMode=border))


BASELINES: dict[str, type[CopyFirstMask] | type[FlowFirstMask]] = {
    "copy": CopyFirstMask,
    "flow": FlowFirstMask,
}
"""Name in the command line -> baseline."""


def run_baseline(
    name: str, scans: Sequence[Scan], truth: Truth, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Run a baseline on every sequence and return the record of the run.

    Args:
        name: Key of `BASELINES`. A baseline that needs frames is given only to sequences
            that have them.
        scans: The sequences.
        truth: The dataset they belong to.
        progress: Called after each group of frames.
    """
    baseline = BASELINES[name]
    watch = Stopwatch()
    scored = []
    for each in scans:
        video = None
        if baseline.needs_frames:
            assert each.sequence.open is not None
            video = each.sequence.open()
        with nullcontext() if video is None else video:
            scored.append(
                score_results(
                    each,
                    watch.sequence(_results(name, each, video)),
                    label=f"{baseline.name}, {each.sequence.name}",
                    progress=progress,
                )
            )
    return run_record(
        baseline.name,
        scored,
        kind="baseline",
        class_names=truth.class_names,
        prompts=None,
        speed=watch.record() if baseline.needs_frames else None,
        worst=[],
        problems=[],
    )


def _results(name: str, each: Scan, video: Video | None) -> Iterator[FrameResult]:
    """Yield a baseline's masks per frame, with NaN for the estimates that only models have."""
    tracker = BASELINES[name]()
    blank = np.zeros((1, 1, 3), np.uint8)
    for index in range(len(each.sequence.frames)):
        starts = [i for i, first in each.first_frames.items() if first == index]
        truth = each.sequence.labels(index) if starts else None
        new = {i: truth == i for i in starts} if truth is not None else {}
        frame = blank if video is None else video[index]
        start = time.perf_counter()
        masks = tracker.step(frame, new)
        milliseconds = 1000 * (time.perf_counter() - start)
        yield _as_result(index, masks, milliseconds)


def _as_result(index: int, masks: dict[int, np.ndarray], milliseconds: float) -> FrameResult:
    stacked = np.stack([*masks.values()]) if masks else np.zeros((0, 1, 1), np.bool_)
    unknown = np.full(len(masks), np.nan, np.float32)
    return FrameResult(index, tuple(masks), stacked, unknown, unknown, milliseconds)
