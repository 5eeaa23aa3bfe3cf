"""Time of each stage of a frame, measured one after another without overlap."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from surgsam2.benchmark.arithmetic import count_flops
from surgsam2.benchmark.case import OURS, STAGES, WARM_UP
from surgsam2.benchmark.clocks import StageClock
from surgsam2.benchmark.sam2_predictor import make_predictor, open_session, propagate
from surgsam2.benchmark.subjects import label_writer, write_labels
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.postprocess import make_result
from surgsam2.tracking.tracker import Tracker
from surgsam2.video import Video


class StageTimes:
    """Milliseconds per frame by stage, and the operations of one tracked frame."""

    def __init__(self, milliseconds: dict[str, float], flops: int) -> None:
        self.milliseconds = milliseconds
        self.flops = flops
        """Floating point operations of the network's matrix products and convolutions."""


def stage_times(
    subject: str, model: SurgSAM2Model, video: Video, prompts: PromptSet, folder: Path
) -> StageTimes:
    """Track a clip with every stage timed.

    Args:
        subject: `OURS` or a baseline. The stages of `per-object` are those of `sam2`.
        model: The model.
        video: The clip.
        prompts: Prompts on frame 0.
        folder: Folder that receives the label PNGs.
    """
    device = model.device
    on_gpu = device.type == "cuda"
    clock = StageClock((lambda: torch.cuda.synchronize(device)) if on_gpu else None)
    run = _time_engine if subject == OURS else _time_sam2
    flops = run(clock, model, video, prompts, folder)
    times = clock.milliseconds(video.frame_count - WARM_UP)
    return StageTimes({name: times.get(name, 0.0) for name in STAGES}, flops)


def _time_engine(
    clock: StageClock, model: SurgSAM2Model, video: Video, prompts: PromptSet, folder: Path
) -> int:
    network = model.network
    clock.watch(model, "resize", "preprocessing")
    clock.watch(model, "normalise", "preprocessing")
    clock.watch(network, "encode_image", "encoder")
    clock.watch(network, "attend", "memory attention")
    clock.watch(network, "decode_tracked", "decoder")
    clock.watch(network, "encode_memory", "memory encoder")
    tracker = Tracker(model, video.width, video.height, frame_count=video.frame_count)
    options = TrackingOptions()
    writer = label_writer(video, prompts, folder)
    flops = 0
    for index in range(video.frame_count):
        if index == WARM_UP:
            clock.reset()
        with clock.stage("decode"):
            frame = video[index]
        work = tracker.encoded(frame)
        if index == WARM_UP - 1:
            flops, outputs = count_flops(lambda: tracker.advance(work))  # noqa: B023
        else:
            outputs = tracker.advance(work, prompts if index == 0 else None)
        with clock.stage("postprocessing"):
            began = time.perf_counter()
            result = make_result(index, outputs, (video.width, video.height), options, began)
        with clock.stage("writing"):
            writer.write(frame, result)
    return flops


def _time_sam2(
    clock: StageClock, model: SurgSAM2Model, video: Video, prompts: PromptSet, folder: Path
) -> int:
    predictor = make_predictor(model)
    clock.watch(predictor, "forward_image", "encoder")
    clock.watch(predictor.memory_attention, "forward", "memory attention")
    clock.watch(predictor, "_forward_sam_heads", "decoder")
    clock.watch(predictor, "_encode_new_memory", "memory encoder")
    clock.watch(predictor, "_get_orig_video_res_output", "postprocessing")
    writer = label_writer(video, prompts, folder)
    flops = 0
    with torch.inference_mode(), model.autocast():
        session = open_session(predictor, model, video, video.frame_count)
        tracked = propagate(predictor, session, prompts)
        for index in range(video.frame_count):
            if index == WARM_UP:
                clock.reset()
            if index == WARM_UP - 1:
                flops, (_, logits) = count_flops(lambda: next(tracked))
            else:
                _, logits = next(tracked)
            with clock.stage("writing"):
                write_labels(writer, video, prompts, index, logits)
        clock.watch(model, "preprocess", "preprocessing")
        video[WARM_UP - 1]  # Decoding then goes on without a seek.
        for index in range(WARM_UP, video.frame_count):
            with clock.stage("decode"):
                frame = video[index]
            model.preprocess(frame)
    return flops
