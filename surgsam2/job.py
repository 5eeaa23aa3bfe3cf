"""The main job: a video and prompts in, a folder of results out.

One function, used by the `surgsam2` command, the MONAI bundle and scripts alike, so
that all of them write the same bytes.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surgsam2.errors import DeviceError, InputError, OutputError
from surgsam2.fingerprint import Fingerprints
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import (
    FORMATS,
    OrderedOutputs,
    OutputContext,
    collect_versions,
    finish_output,
    prepare_output,
    write_report,
)
from surgsam2.prompts import PromptSet
from surgsam2.tracking.postprocess import MaskOptions
from surgsam2.tracking.segment import Direction, TrackingPlan, plan_tracking, track
from surgsam2.video import Video
from surgsam2.video.images import find_images

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
    seconds: float = 0.0

    def stop(self) -> None:
        self.seconds = time.perf_counter() - self.began

    def summary(self) -> dict[str, Any]:
        done = np.array(self.tracker if self.tracker else [np.nan])
        return {
            "frames": len(self.tracker),
            "seconds": self.seconds,
            "frames_per_second": len(self.tracker) / self.seconds if self.seconds else 0.0,
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
    *,
    progress: Progress = lambda done, total, seconds: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Segment a video into a folder.

    What can be checked is checked before the folder is touched. Files are written as
    frames arrive; while the run goes on, and after one that failed or was stopped, the
    folder has a file `INCOMPLETE`, and what was written before is valid.

    Args:
        progress: called after every tracked frame.
        should_stop: asked after every tracked frame; true ends the run as `interrupted`.

    Returns:
        The report, as in `report.json`. Its `status` is `complete`, or `interrupted`
        after `should_stop` or a KeyboardInterrupt (which is not raised again). After a
        failure the file is written too, with the reason.

    Raises:
        PromptError, InputError, VideoError: bad input.
        DeviceError: out of memory.
        OutputError: the folder cannot be written.
    """
    options = options or JobOptions()
    plan = plan_tracking(video, prompts, options.start, options.stop, options.direction)
    masks = MaskOptions(not options.allow_overlap, options.fill_holes)
    _keep_inputs(folder, video, prompts)
    name = os.fsencode(Path(video.source).name).decode(errors="replace")
    context = OutputContext(video.width, video.height, video.fps, prompts.objects, name)
    output = prepare_output(folder, overwrite=options.overwrite)
    timings = _Timings()
    steps = 0

    def on_step() -> None:
        nonlocal steps
        steps += 1
        progress(steps, plan.steps, time.perf_counter() - timings.began)
        if should_stop():
            raise KeyboardInterrupt

    failure: BaseException | None = None
    status = "complete"
    with Fingerprints(_inputs(video, model)) as fingerprints:
        try:
            results = track(model, video, prompts, plan, masks, on_step)
            outputs = OrderedOutputs(
                output, options.formats, context, video, descending=plan.direction == "backward"
            )
            with closing(results), outputs:
                try:
                    for frame, result in results:
                        outputs.write(frame, result)
                        timings.tracker.append(result.milliseconds)
                finally:
                    timings.stop()
        except KeyboardInterrupt:
            status = "interrupted"
        except (torch.OutOfMemoryError, MemoryError) as error:
            status = "failed: out of memory"
            failure = DeviceError(
                f"out of memory on {model.device} after {len(timings.tracker)} frames; use a "
                "smaller model or a 512-pixel config, fewer objects at a time, or another device"
            )
            failure.__cause__ = error
        except Exception as error:
            status, failure = f"failed: {error}", error
        hashes = fingerprints.results(wait=status == "complete")
    report = _report(model, context, video, prompts, options, plan, timings, status, hashes)
    write_report(output, report)
    if failure is not None:
        raise failure
    if status == "complete":
        finish_output(output)
    return report


def _keep_inputs(folder: Path | str, video: Video, prompts: PromptSet) -> None:
    """Refuse an output folder whose files from an earlier run are this run's input."""
    output = Path(folder).resolve()
    for path in (Path(video.source), *prompts.mask_files):
        if path.exists() and path.resolve().is_relative_to(output) and str(folder):
            raise OutputError(
                f"{path} is an input of this run and lies in the output folder {folder}, which is "
                "emptied first; choose another output folder"
            )


def _inputs(video: Video, model: SurgSAM2Model) -> dict[str, list[Path]]:
    """The files that the report identifies by their hashes."""
    source = Path(video.source)
    frames = [source] if source.is_file() else find_images(source) if source.is_dir() else []
    return {"checkpoint": [model.checkpoint] if model.checkpoint else [], "video": frames}


def _report(
    model: SurgSAM2Model,
    context: OutputContext,
    video: Video,
    prompts: PromptSet,
    options: JobOptions,
    plan: TrackingPlan,
    timings: _Timings,
    status: str,
    hashes: dict[str, str | None],
) -> dict[str, Any]:
    return {
        "status": status,
        "versions": collect_versions(),
        "model": {
            "config": model.name,
            "checkpoint": model.checkpoint and model.checkpoint.name,
            "checkpoint_sha256": hashes["checkpoint"],
            "trained": model.checkpoint is not None,
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "pruning": asdict(model.pruning),
        },
        "video": {
            "name": context.video_name,
            "sha256": hashes["video"],
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
