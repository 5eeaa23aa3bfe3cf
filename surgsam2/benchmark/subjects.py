"""Subjects of the benchmark: functions that go from a video file to label PNGs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from surgsam2.benchmark.case import OURS
from surgsam2.benchmark.clocks import FrameClock
from surgsam2.benchmark.sam2_predictor import make_predictor, open_session, propagate
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import OutputContext
from surgsam2.outputs.label_png import LabelPngWriter
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.postprocess import to_masks
from surgsam2.video import Video

Subject = Callable[[SurgSAM2Model, Video, PromptSet, Path], FrameClock]
"""Called with model, clip, prompts and a folder for label PNGs; returns the times."""


def run_ours(model: SurgSAM2Model, video: Video, prompts: PromptSet, folder: Path) -> FrameClock:
    """Run the engine as `surgsam2 segment --formats png --min-region 0` does, as `sam2` does."""
    clock = FrameClock()
    segment_to_folder(
        model,
        video,
        prompts,
        folder,
        JobOptions(formats=("png",), tracking=TrackingOptions(min_region=0)),
        progress=lambda done, total, seconds: clock.frame(done - 1),
    )
    return clock


def run_sam2(
    model: SurgSAM2Model, video: Video, prompts: PromptSet, folder: Path, *, pruned: bool = True
) -> FrameClock:
    """Run `sam2`'s predictor with all objects in one session."""
    predictor = make_predictor(model, pruned=pruned)
    writer = label_writer(video, prompts, folder)
    clock = FrameClock()
    with torch.inference_mode(), model.autocast():
        session = open_session(predictor, model, video, video.frame_count)
        clock.share()
        for index, logits in propagate(predictor, session, prompts):
            write_labels(writer, video, prompts, index, logits)
            clock.frame(index)
    return clock


def run_per_object(
    model: SurgSAM2Model, video: Video, prompts: PromptSet, folder: Path
) -> FrameClock:
    """Run `sam2`'s predictor once per object and resolve overlaps afterwards."""
    predictor = make_predictor(model)
    writer = label_writer(video, prompts, folder)
    clock = FrameClock()
    tracks = []
    with torch.inference_mode(), model.autocast():
        session = open_session(predictor, model, video, video.frame_count)
        clock.share()
        for obj in prompts:
            alone = prompts.for_object(obj.id).prompts[0]
            one = PromptSet().add(object_id=obj.id, frame=alone.frame, mask=alone.mask)
            track = []
            for index, logits in propagate(predictor, session, one):
                track.append(logits)
                clock.frame(index)
            tracks.append(track)
        for index, together in enumerate(zip(*tracks, strict=True)):
            write_labels(writer, video, prompts, index, torch.cat(together))
            clock.frame(index)
    return clock


RUNS: dict[str, Subject] = {
    OURS: run_ours,
    "sam2": run_sam2,
    "sam2-unpruned": partial(run_sam2, pruned=False),
    "per-object": run_per_object,
    "sam2-float32": run_sam2,
    "surgsam2-float32": run_ours,
}
"""Value of `Case.subject` -> subject."""


def label_writer(video: Video, prompts: PromptSet, folder: Path) -> LabelPngWriter:
    """Open the engine's PNG writer, which the baselines use as well."""
    folder.mkdir(parents=True, exist_ok=True)
    context = OutputContext(video.width, video.height, video.fps, prompts.objects)
    return LabelPngWriter(folder, context)


def write_labels(
    writer: LabelPngWriter, video: Video, prompts: PromptSet, index: int, logits: torch.Tensor
) -> None:
    """Write (N, H, W) logits as a label PNG; each pixel goes to the object with the highest one."""
    ids = tuple(obj.id for obj in prompts)
    masks = to_masks(logits, allow_overlap=False).cpu().numpy()
    unknown = np.zeros(len(ids), np.float32)
    picture = np.zeros((video.height, video.width, 3), np.uint8)  # The writer only checks its size.
    writer.write(picture, FrameResult(index, ids, masks, unknown, unknown))
