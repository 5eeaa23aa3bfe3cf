"""The report of a run: what was done, how long it took and what is missing."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.job.fingerprint import Identity
from surgsam2.job.inputs import RunInputs
from surgsam2.job.names import hide_names
from surgsam2.outputs import collect_versions


@dataclass
class Timings:
    """How long a run took so far, in this process and in those before it."""

    earlier_seconds: float = 0.0
    """Seconds in the processes before."""
    tracker: array[float] = field(default_factory=lambda: array("f"))
    """Milliseconds that the tracker took for each result."""
    began: float = field(default_factory=time.perf_counter)
    """Clock reading at the beginning of this process's share, in seconds."""

    @property
    def seconds(self) -> float:
        """Seconds in all processes together."""
        return self.earlier_seconds + time.perf_counter() - self.began

    def summary(self) -> dict[str, Any]:
        """Return the section `timings` of the report."""
        seconds = self.seconds
        done = np.array(self.tracker if self.tracker else [np.nan])
        return {
            "frames": len(self.tracker),
            "seconds": seconds,
            "frames_per_second": len(self.tracker) / seconds if seconds else 0.0,
            "tracker_milliseconds": {
                "median": float(np.median(done)),
                "p95": float(np.percentile(done, 95)),
            },
        }


def make_report(
    inputs: RunInputs,
    output: Path,
    *,
    status: str,
    timings: dict[str, Any],
    resumed: int,
    hashes: dict[str, str | None],
    identity: Identity | None,
) -> dict[str, Any]:
    """Return the content of ``report.json``.

    Args:
        inputs: the inputs of the run.
        output: the output folder.
        status: how the run ended: `complete`, `interrupted` or `failed: ` and the reason.
        timings: the times, from `Timings.summary`.
        resumed: how often the run was continued.
        hashes: the SHA-256 of the input files.
        identity: the identity of the run, if it is complete.
    """
    video, prompts = inputs.whole, inputs.prompts
    options, plan, number = inputs.options, inputs.plan, inputs.context.number
    return {
        "status": status if options.keep_names else hide_names(status, _words(inputs, output)),
        "versions": collect_versions(),
        "model": {
            **inputs.model_record.facts,
            "checkpoint_sha256": hashes["checkpoint"] or inputs.model_record.file_sha256,
        },
        "video": {
            "name": inputs.context.video_name or None,
            "sha256": hashes["video"],
            "width": video.width,
            "height": video.height,
            "fps": video.fps,
            "frames": video.frame_count,
        },
        "objects": [
            {"id": o.id, "name": o.name, "prompted_frames": [number(p.frame) for p in o.prompts]}
            for o in prompts
        ],
        "options": options.as_mapping(),
        "frame_range": [number(plan.start), min(number(plan.stop), video.frame_count)],
        "timings": timings,
        "resumed": resumed,
        **({"split": inputs.split.as_json(options.stride)} if inputs.split else {}),
        "skipped": list(_skipped(inputs, timings["frames"])),
        "identity": identity,
    }


def _words(inputs: RunInputs, output: Path) -> dict[Path, str]:
    """Return what to write instead of the names of the files of a run."""
    words = {path: "a mask of the prompts" for path in inputs.prompts.mask_files}
    words |= {path: "a frame of the video" for path in inputs.files["video"]}
    words |= {path: "the model file" for path in inputs.files["checkpoint"]}
    return words | {Path(inputs.video.source): "the video", output: "the output folder"}


def _skipped(inputs: RunInputs, done: int) -> Iterator[str]:
    """Yield a sentence for everything that is missing in the results, with the reason."""
    video, prompts, plan = inputs.video, inputs.prompts, inputs.plan
    options, number = inputs.options.tracking, inputs.context.number
    yield from video.warnings
    yield from inputs.model_record.warnings
    if options.stop is not None and options.stop > inputs.whole.frame_count:
        count = inputs.whole.frame_count
        yield f"stop {options.stop} is beyond the end: the video has {count} frames"
    if options.start is None and plan.start > 0:
        before = _frames(0, number(plan.start))
        yield f"{before}: before the first prompt; direction both tracks them"
    if options.stop is None and plan.stop < video.frame_count:
        after = _frames(number(plan.stop), inputs.whole.frame_count)
        yield f"{after}: after the last prompt; direction both tracks them"
    if done < plan.frames:
        yield f"{plan.frames - done} of {plan.frames} frames were not segmented"
    for obj in prompts:
        first, last = obj.prompts[0].frame, obj.prompts[-1].frame
        if plan.direction == "forward" and first >= plan.stop:
            yield f"object {obj.id}: first prompted on frame {number(first)}, after the range"
        elif plan.direction == "forward" and first > plan.start:
            yield f"object {obj.id}: no masks before frame {number(first)}, its first prompt"
        elif plan.direction == "backward" and last < plan.start:
            yield f"object {obj.id}: last prompted on frame {number(last)}, before the range"
        elif plan.direction == "backward" and last < plan.stop - 1:
            yield f"object {obj.id}: no masks after frame {number(last)}, its last prompt"


def _frames(start: int, stop: int) -> str:
    return f"frames {start} to {stop - 1}" if stop - start > 1 else f"frame {start}"
