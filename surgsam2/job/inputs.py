"""The inputs of a run, checked before anything is computed or written."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from surgsam2.engine.remote_model import RemoteModel
from surgsam2.errors import InputError, OutputError
from surgsam2.job.fingerprint import Identity, ModelRecord, identity_of
from surgsam2.job.options import JobOptions
from surgsam2.job.split import OVERLAP, Split
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import FORMATS, OutputContext
from surgsam2.prompts import PromptSet, load_class_list
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.encoded_frame import check_masks
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.plan import TrackingPlan, plan_tracking
from surgsam2.tracking.remote import Tracking, track
from surgsam2.video import Video
from surgsam2.video.strided import StridedVideo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunInputs:
    """What a run segments, and how. Made by `check_inputs`."""

    model: SurgSAM2Model | RemoteModel | None
    """None if all frames were tracked before, and only the files are written."""
    model_record: ModelRecord
    identity: Identity
    video: Video
    prompts: PromptSet
    options: JobOptions
    plan: TrackingPlan
    files: dict[str, list[Path]]
    """Files of the video and of the weights, which the run's fingerprint is made of."""
    context: OutputContext
    """The facts about the run that writers of results need."""
    whole: Video
    """The video as it was opened; `video` has the frames of it that are tracked."""
    corrected: PromptSet | None = None
    """In a correction, the prompts of the objects that are tracked again; else None."""
    split: Split | None = None
    """How the tracking is divided among several processes; None if it is not."""

    @property
    def tracked(self) -> PromptSet:
        """The prompts that the tracker gets."""
        return self.prompts if self.corrected is None else self.corrected

    @property
    def can_resume(self) -> bool:
        """Whether another process can recognise the video."""
        return bool(self.files["video"])

    def of_part(self, part: int) -> RunInputs:
        """Return the inputs of one part of the tracking: with fewer objects, or fewer frames.

        Args:
            part: number of the part, from 0. Without `split` there is part 0 only, which is all.
        """
        split, plan = self.split, self.plan
        if split is None:
            return self
        if split.objects:
            chosen = PromptSet(video=self.prompts.video)
            for object_id in split.objects[part]:
                chosen.put(self.prompts.for_object(object_id))
            return replace(self, prompts=chosen)
        limits = (plan.start, *split.cuts, plan.stop)
        stop = limits[part + 1] + (OVERLAP if part < len(split.cuts) else 0)
        return replace(self, plan=replace(plan, start=limits[part], stop=min(stop, plan.stop)))


def check_inputs(
    model: SurgSAM2Model | RemoteModel | ModelRecord,
    video: Video,
    prompts: PromptSet,
    folder: Path | str,
    options: JobOptions,
    corrected: PromptSet | None = None,
    split: Split | None = None,
) -> RunInputs:
    """Check everything about a run that can be checked before it begins.

    Args:
        model: the model; or its record, if all frames were tracked before.
        video: the video.
        prompts: the prompts of all objects.
        folder: the output folder.
        options: the options of the run.
        corrected: the prompts of the objects that are tracked again, if the run is a correction
            of the results in the folder.
        split: how the tracking is divided among several processes.

    Raises:
        PromptError, InputError, VideoError: the inputs cannot be used, or not together.
        OutputError: an input lies in the output folder.
    """
    whole, tracking = video, options.tracking
    if options.stride > 1:
        prompts.validate(video.width, video.height, video.frame_count)
        prompts = prompts.for_every(options.stride)
        video = StridedVideo(video, options.stride)
        tracking = _in_strides(tracking, options.stride)
    tracked = prompts if corrected is None else corrected
    plan = plan_tracking(video, tracked, tracking)
    if options.classes is not None:
        prompts = prompts.with_classes(load_class_list(options.classes))
    record = model if isinstance(model, ModelRecord) else ModelRecord.of(model)
    if isinstance(model, SurgSAM2Model):
        record = replace(record, warnings=tuple(check_masks(model, tracked)))
        for warning in record.warnings:
            logger.warning("%s", warning)
    if corrected is None:  # a correction does not empty the folder
        _keep_inputs(folder, video, prompts)
    name = ""
    if options.keep_names:
        name = os.fsencode(Path(video.source).name).decode(errors="replace")
    context = OutputContext(
        video.width,
        video.height,
        whole.fps,
        prompts.objects,
        name,
        frame_count=plan.frames,
        times=whole.timestamps,
        pixel_aspect=video.pixel_aspect,
        frame_names=_frame_names(video) if options.keep_names else (),
        stride=options.stride,
        files=whole.files,
        tells_names=options.keep_names,
    )
    checkpoint = model.checkpoint if isinstance(model, SurgSAM2Model) else None
    inputs = RunInputs(
        None if isinstance(model, ModelRecord) else model,
        record,
        identity_of(
            *(record, video, prompts, plan, options),
            () if corrected is None else (item.id for item in corrected),
        )
        | (split.identity if split else {}),
        video,
        prompts,
        options,
        plan,
        {"checkpoint": [checkpoint] if checkpoint else [], "video": list(video.files)},
        context,
        whole,
        corrected,
        split,
    )
    if options.resume and not inputs.can_resume:
        raise InputError(
            f"cannot resume {folder}: the video is not a file or folder, so nothing tells "
            "whether it is the same; start anew without resume"
        )
    for format_name in options.formats:
        FORMATS[format_name].check_run(Path(folder), context)
    return inputs


def _in_strides(tracking: TrackingOptions, stride: int) -> TrackingOptions:
    """Return options whose range counts every `stride`-th frame only."""
    limits = (tracking.start, tracking.stop)
    start, stop = (None if frame is None else -(-frame // stride) for frame in limits)
    return replace(tracking, start=start, stop=stop)


def open_tracking(
    inputs: RunInputs,
    first_pass: DiskStore,
    state: dict[str, Any] | None = None,
    outputs: DiskStore | None = None,
) -> Tracking:
    """Return the tracking of a run, at its beginning or at a saved state.

    Args:
        inputs: the inputs of the run.
        first_pass: keeps the backward pass of direction `both`; see `VideoTracking`.
        state: the state, from `Tracking.state_dict`; None is the beginning.
        outputs: keeps what the masks are made of; see `VideoTracking`.

    Raises:
        InputError: there is only the record of a model, but frames are left to be tracked.
        OutputError: the state is not one of such a run.
    """
    if inputs.model is None:
        raise InputError("frames are left to be tracked, which takes the model itself")
    tracking = track(
        inputs.model,
        inputs.video,
        inputs.tracked,
        inputs.plan,
        inputs.options.tracking,
        first_pass,
        outputs,
    )
    if state is not None:
        try:
            tracking.load_state_dict(state)
        except InputError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise OutputError(
                f"the saved state is damaged ({error}); start anew without resume"
            ) from error
    return tracking


def _frame_names(video: Video) -> tuple[str, ...]:
    """Return the names of a folder's images without their suffixes; none for other videos."""
    if not Path(video.source).is_dir():
        return ()
    return tuple(os.fsencode(path.stem).decode(errors="replace") for path in video.files)


def _keep_inputs(folder: Path | str, video: Video, prompts: PromptSet) -> None:
    """Refuse an output folder whose files from an earlier run are this run's input."""
    output = Path(folder).resolve()
    for path in (Path(video.source), *prompts.mask_files):
        if path.exists() and path.resolve().is_relative_to(output) and str(folder):
            raise OutputError(
                f"{path} is an input of this run and lies in the output folder {folder}, which is "
                "emptied first; choose another output folder"
            )
