"""The main job: a video and prompts in, a folder of results out.

One function, used by the `surgsam2` command, the MONAI bundle and scripts alike, so
that all of them write the same bytes.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import (
    FORMATS,
    OutputContext,
    OutputSet,
    collect_versions,
    finish_output,
    prepare_output,
    sha256_of,
    write_report,
)
from surgsam2.prompts import PromptSet
from surgsam2.results import FrameResult
from surgsam2.spool import Spool
from surgsam2.tracking.postprocess import MaskOptions
from surgsam2.tracking.segment import Direction, TrackingPlan, plan_tracking, track
from surgsam2.video import Video

Progress = Callable[[int, int, float], None]
"""Called after every tracked frame: frames done, frames in all, seconds since the start."""


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What the user may choose about one run."""

    formats: tuple[str, ...] = tuple(FORMATS)
    direction: Direction = "forward"
    start: int | None = None
    stop: int | None = None
    allow_overlap: bool = False
    """Let masks of different objects share pixels. Label PNGs cannot: there the later
    object of the prompt file is drawn on top."""
    fill_holes: int = 0
    """See `MaskOptions.fill_holes`."""
    overwrite: bool = False
    """Write into a folder that holds other files too."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            raise InputError(
                f"formats must be some of {', '.join(FORMATS)}, got {','.join(self.formats)!r}"
            )


@dataclass
class _Timings:
    """Milliseconds of every frame, four bytes each."""

    tracker: array[float] = field(default_factory=lambda: array("f"))
    began: float = field(default_factory=time.perf_counter)

    def summary(self) -> dict[str, Any]:
        seconds = time.perf_counter() - self.began
        done = np.array(self.tracker if self.tracker else [np.nan])
        return {
            "frames": len(self.tracker),
            "seconds": seconds,
            "frames_per_second": len(self.tracker) / seconds,
            "tracker_milliseconds": {
                "median": float(np.median(done)),
                "p95": float(np.percentile(done, 95)),
            },
        }


def segment_to_folder(
    model: SurgSAM2Model,
    video: Video,
    prompts: PromptSet,
    folder: Path | str,
    options: JobOptions | None = None,
    progress: Progress = lambda done, total, seconds: None,
) -> dict[str, Any]:
    """Segment a video into a folder.

    Everything is checked before the folder is touched. Files are written as frames
    arrive; while the run goes on, and after one that failed or was stopped, the folder
    has a file `INCOMPLETE`, and what was written before is valid.

    Args:
        progress: called after every tracked frame.

    Returns:
        The report, as in `report.json`. Its `status` is `complete`, or `interrupted`
        after a KeyboardInterrupt (which is not raised again). It is written after a
        failure too, with the reason.

    Raises:
        PromptError, InputError, VideoError: bad input.
        OutputError: the folder cannot be written.
    """
    options = options or JobOptions()
    plan = plan_tracking(video, prompts, options.start, options.stop, options.direction)
    masks = MaskOptions(not options.allow_overlap, options.fill_holes)
    objects = prompts.objects
    context = OutputContext(
        video.width, video.height, video.fps, tuple(objects), Path(video.source).name
    )
    output = prepare_output(folder, overwrite=options.overwrite)
    timings = _Timings()
    steps = 0

    def on_step() -> None:
        nonlocal steps
        steps += 1
        progress(steps, plan.steps, time.perf_counter() - timings.began)

    failure: SurgSAM2Error | None = None
    status = "complete"
    with ThreadPoolExecutor(max_workers=1) as background:
        digest = background.submit(_video_hash, video)
        results = track(model, video, prompts, plan, masks, on_step)
        with closing(results), _Sink(output, options.formats, context, video, plan) as sink:
            try:
                for frame, result in results:
                    sink.write(frame, result)
                    timings.tracker.append(result.milliseconds)
            except KeyboardInterrupt:
                status = "interrupted"
            except SurgSAM2Error as error:
                status, failure = f"failed: {error}", error
        report = _report(model, video, prompts, options, plan, timings, status, digest)
    write_report(output, report)
    if failure is not None:
        raise failure
    if status == "complete":
        finish_output(output)
    return report


class _Sink:
    """All writers. In a backward run those that need ascending frames are fed at the end."""

    def __init__(
        self,
        folder: Path,
        formats: Iterable[str],
        context: OutputContext,
        video: Video,
        plan: TrackingPlan,
    ) -> None:
        self._late = plan.direction == "backward"
        late = [name for name in formats if self._late and FORMATS[name].needs_order]
        self._now = OutputSet(folder, [name for name in formats if name not in late], context)
        self._last = OutputSet(folder, late, context)
        self._video = video
        self._spool = Spool()

    def write(self, frame: np.ndarray, result: FrameResult) -> None:
        self._now.write(frame, result)
        if self._last.writers:
            self._spool.put(
                result.frame_index,
                ids=np.array(result.object_ids, dtype=np.int64),
                masks=np.packbits(result.masks, axis=-1),
                scores=np.stack([result.iou_scores, result.presence]),
            )

    def _write_late(self) -> None:
        indices = self._spool.indices()
        if not indices:
            return
        with closing(self._video.frames(indices[0], indices[-1] + 1)) as frames:
            for index, frame in frames:
                self._last.write(frame, self._restore(index))

    def _restore(self, index: int) -> FrameResult:
        stored = self._spool.get(index)
        masks = np.unpackbits(stored["masks"], axis=-1, count=self._video.width).astype(bool)
        iou_scores, presence = stored["scores"]
        return FrameResult(index, tuple(map(int, stored["ids"])), masks, iou_scores, presence)

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with closing(self._spool), self._now, self._last:
            if kind is None:
                self._write_late()


def _report(
    model: SurgSAM2Model,
    video: Video,
    prompts: PromptSet,
    options: JobOptions,
    plan: TrackingPlan,
    timings: _Timings,
    status: str,
    digest: Future[str | None],
) -> dict[str, Any]:
    return {
        "status": status,
        "versions": collect_versions(),
        "model": {
            "config": model.name,
            "checkpoint": model.checkpoint and model.checkpoint.name,
            "checkpoint_sha256": model.checkpoint and sha256_of(model.checkpoint),
            "trained": model.checkpoint is not None,
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "pruning": asdict(model.pruning),
        },
        "video": {
            "name": Path(video.source).name,
            "sha256": digest.result(),
            "width": video.width,
            "height": video.height,
            "fps": video.fps,
            "frames": video.frame_count,
        },
        "objects": [
            {"id": o.id, "name": o.name, "prompted_frames": [p.frame for p in o.prompts]}
            for o in prompts
        ],
        "options": asdict(options),
        "frame_range": [plan.start, plan.stop],
        "timings": timings.summary(),
        "skipped": list(_skipped(video, prompts, plan, timings)),
    }


def _skipped(
    video: Video, prompts: PromptSet, plan: TrackingPlan, timings: _Timings
) -> Iterator[str]:
    """What is not in the results, and why; one sentence each."""
    yield from video.warnings
    if len(timings.tracker) < plan.frames:
        yield f"{plan.frames - len(timings.tracker)} of {plan.frames} frames were not segmented"
    for obj in prompts:
        first, last = obj.prompts[0].frame, obj.prompts[-1].frame
        if plan.direction == "forward" and first >= plan.stop:
            yield f"object {obj.id}: first prompted on frame {first}, after the range"
        elif plan.direction == "forward" and first > plan.start:
            yield f"object {obj.id}: no masks before frame {first}, its first prompt"
        elif plan.direction == "backward" and last < plan.start:
            yield f"object {obj.id}: last prompted on frame {last}, before the range"
        elif plan.direction == "backward" and last < plan.stop - 1:
            yield f"object {obj.id}: no masks after frame {last}, its last prompt"


def _video_hash(video: Video) -> str | None:
    """SHA-256 of the file, or of the names and contents of a folder's files; None for arrays."""
    path = Path(video.source)
    if path.is_file():
        return sha256_of(path)
    if not path.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
    return digest.hexdigest()
