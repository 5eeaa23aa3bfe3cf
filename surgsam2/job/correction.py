"""Correct results that are there: only the objects and the frames concerned are tracked again.

A correction starts from the prompted frames alone. The memories of the tracked frames just before
it are left out: they are those of the masks that were wrong, and the tracker would return to them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.engine.remote_model import RemoteModel
from surgsam2.errors import InputError, PromptError
from surgsam2.job.earlier import EarlierResults, find_earlier
from surgsam2.job.inputs import check_inputs
from surgsam2.job.options import JobOptions
from surgsam2.job.run import Progress, SegmentationRun
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import PROMPTS, ResultRecord, hold_output, is_ours
from surgsam2.prompts import Prompt, PromptSet, load_prompts
from surgsam2.results.prompt_advice import advise
from surgsam2.storage.hashing import Fingerprints
from surgsam2.storage.json_text import parse_json
from surgsam2.tracking.options import Direction, TrackingOptions
from surgsam2.tracking.single_frame import StillFrame
from surgsam2.video import Video, VideoSource, opened

LEAST_KEPT = 0.5
"""Share of a mask below which what points leave of it is worth a warning."""

logger = logging.getLogger(__name__)


def correct_results(
    model: SurgSAM2Model | RemoteModel,
    video: VideoSource,
    corrections: PromptSet,
    folder: Path | str,
    *,
    direction: Direction = "forward",
    start: int | None = None,
    stop: int | None = None,
    progress: Progress = lambda done, total, seconds: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Correct the results of `segment_to_folder` in their folder.

    Points refine the mask that the object has on their frame. They may all be negative, if one of
    them is on the mask. A box, a mask, or points where the object has no mask, replace what is
    there. Then the objects that are corrected are tracked again, from all their prompts, those
    before and the corrections. All other frames and objects stay as they are; where masks must not
    overlap, an object that is tracked again gets the pixels that it shares with others. An id that
    the results do not have adds an object.

    The options of tracking and the formats are those of the run that made the results.

    Args:
        model: the model of that run, from `load_model`.
        video: the video of that run, from `open_video`, or anything that it accepts.
        corrections: the corrections, from `load_prompts` with ``corrections=True``.
        folder: the output folder of that run.
        direction: `forward` tracks from the first correction on, `backward` from the last one
            back, `both` all frames that have results.
        start: index of the first frame that is tracked again; None is as the direction says.
        stop: index of the frame to stop before; None is as the direction says.
        progress: called after every tracked frame.
        should_stop: asked after every tracked frame; true ends the correction.

    Returns:
        The report, as of `segment_to_folder`.

    Raises:
        InputError: the folder has no results that can be corrected, or the range is empty.
        PromptError: the corrections do not fit the video, or leave no mask.
        OutputError: the results are those of another video or model, masks that would be replaced
            were changed by hand, or the folder cannot be written.
        VideoError, DeviceError: as `segment_to_folder`.
    """
    if not isinstance(model, SurgSAM2Model):
        raise InputError("results are corrected with a model on this machine only")
    with opened(video) as opened_video:
        corrections.validate(opened_video.width, opened_video.height, opened_video.frame_count)
        if not is_ours(folder):
            raise InputError(f"{folder}: holds no results to correct; run surgsam2 segment first")
        with hold_output(folder) as held:
            output = held.path
            earlier = _results_in(output, opened_video)
            with closing(earlier.open()) as store:
                record = ResultRecord(store, opened_video.width, opened_video.height)
                before = load_prompts(output / PROMPTS)
                prompts = _corrected(model, opened_video, before, corrections, record)
                frames = record.indices()
            tracked = PromptSet()
            for item in corrections:
                tracked.put(prompts.for_object(item.id))
            begin, end = _range(direction, corrections.frames, frames)
            report = _report_of(output)
            options = _with_range(
                _options_in(report),
                direction,
                begin if start is None else start,
                end if stop is None else stop,
            )
            inputs = check_inputs(model, opened_video, prompts, output, options, tracked)
            if not inputs.can_resume:
                raise InputError(
                    f"cannot correct {folder}: the video is not a file or folder, so nothing tells "
                    "whether it is that of the results"
                )
            # Quick fingerprints of the files are compared with the earlier ones before tracking.
            with Fingerprints(inputs.files, _hashes_in(report)) as fingerprints:
                run = SegmentationRun(inputs, held, fingerprints)
                run.keep_earlier_results()
                return run.carry_out(progress, should_stop)


def _results_in(output: Path, video: Video) -> EarlierResults:
    earlier = find_earlier(output)
    if earlier is None:
        raise InputError(
            f"{output}: holds no results that can be corrected; run surgsam2 segment first, or go "
            "on with a project of surgsam2 annotate there"
        )
    if "stride" in earlier.identity:
        raise InputError(
            f"{output}: results of every {earlier.identity['stride']}th frame (--stride) cannot be "
            "corrected; segment again with the corrections in the prompt file"
        )
    size = f"{video.width}x{video.height}"
    if earlier.identity.get("video size") != size:
        raise InputError(
            f"{output}: the results are of a video of {earlier.identity.get('video size')} pixels, "
            f"this one has {size}; give the video that was segmented"
        )
    return earlier


def _report_of(output: Path) -> dict[str, Any]:
    """Return the report of the run that made the results; empty if it was killed."""
    try:
        report = parse_json((output / "report.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def _hashes_in(report: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of the video and of the checkpoint, as far as a report has them."""
    found = {}
    for name, section, key in (
        ("video", "video", "sha256"),
        ("checkpoint", "model", "checkpoint_sha256"),
    ):
        values = report.get(section)
        value = values.get(key) if isinstance(values, dict) else None
        if isinstance(value, str):
            found[name] = value
    return found


def _options_in(report: dict[str, Any]) -> JobOptions:
    """Return the options of the run that made the results; the defaults if it was killed."""
    try:
        options = report["options"]
        given = {"overwrite": False, "resume": False, "classes": None}  # names are in the prompts
        return JobOptions.from_mapping(options | given)
    except (ValueError, LookupError, TypeError):
        return JobOptions()


def _with_range(options: JobOptions, direction: Direction, start: int, stop: int) -> JobOptions:
    values = options.tracking.as_mapping() | {"direction": direction, "start": start, "stop": stop}
    return replace(options, tracking=TrackingOptions.from_mapping(values))


def _range(direction: Direction, corrected: tuple[int, ...], known: list[int]) -> tuple[int, int]:
    """Return the first frame that is tracked again, and the one to stop before.

    Args:
        direction: the direction of tracking.
        corrected: indices of the frames with a correction, ascending.
        known: indices of the frames that have results, ascending.
    """
    begin = corrected[0] if direction == "forward" else min(corrected[0], *known[:1])
    end = corrected[-1] if direction == "backward" else max(corrected[-1], *known[-1:])
    return begin, end + 1


def _corrected(
    model: SurgSAM2Model,
    video: Video,
    before: PromptSet,
    corrections: PromptSet,
    record: ResultRecord,
) -> PromptSet:
    """Return the prompts of all objects, in which points on a mask are the mask that they give."""
    prompts = PromptSet()
    for item in before:
        prompts.put(item)
    for item in corrections:
        old = before.for_object(item.id) if item.id in before else None
        kept = {} if old is None else {prompt.frame: prompt for prompt in old.prompts}
        for prompt in item.prompts:
            kept[prompt.frame] = _refined(model, video, item.id, prompt, record)
        prompts.put(replace(old or item, prompts=tuple(kept.values())))
    return prompts


def _refined(
    model: SurgSAM2Model, video: Video, object_id: int, prompt: Prompt, record: ResultRecord
) -> Prompt:
    """Return the prompt that a correction becomes.

    Raises:
        PromptError: it leaves no mask, or there is nothing to take away where its points are.
    """
    place, frame = f"object {object_id}, frame {prompt.frame}", prompt.frame
    known = record.get(frame) if frame in record else None
    mask = None
    if known is not None and object_id in known.object_ids:
        mask = known.mask(object_id)
    if mask is None or not mask.any() or not len(prompt.points) or prompt.box is not None:
        if len(prompt.points) and prompt.box is None and not prompt.labels.any():
            raise PromptError(
                f"{place}: all points are negative, and the object has no mask there to correct; "
                "add a positive point or a box"
            )
        return replace(prompt, corrects=False)
    if not prompt.labels.any() and not _on_mask(prompt.points, mask).any():
        beside = ", ".join(f"[{x:g}, {y:g}]" for x, y in prompt.points.tolist())
        raise PromptError(
            f"{place}: all points are negative, and none of them is on the object's mask "
            f"({beside}), so that there is nothing to take away; put one on the part that does not "
            "belong to the object, or add a positive point"
        )
    points = np.column_stack([prompt.points, prompt.labels])
    pixels = video[frame]
    refined = StillFrame(model, pixels, frame).refine(object_id, mask, points).masks[0]
    if not refined.any():
        raise PromptError(
            f"{place}: these points leave no mask; mark a part of the object with a positive point "
            "or a box"
        )
    for text in [*advise(pixels, prompt, refined), *_loss(mask, refined)]:
        logger.warning("%s: %s", place, text)
    return Prompt(frame, mask=refined)


def _on_mask(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return which of the points, (P, 2) rows of x and y inside the frame, are on a mask, (P,)."""
    columns, rows = np.floor(points + 0.5).astype(int).T
    return mask[rows, columns]


def _loss(before: np.ndarray, after: np.ndarray) -> list[str]:
    """Return a clause if a refined mask has lost most of what was there."""
    share = float((before & after).sum() / before.sum())
    if share >= LEAST_KEPT:
        return []
    return [
        f"these points leave {share:.0%} of the mask that was there; if that is too little, "
        "replace the mask by a box or by a mask on this frame"
    ]
