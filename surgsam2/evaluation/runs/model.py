"""A model's run on the sequences of a dataset, in one prompt setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from surgsam2.evaluation.metrics.calibration import OracleGap
from surgsam2.evaluation.prompting import PromptSetting, prompts_for
from surgsam2.evaluation.report.record import run_record
from surgsam2.evaluation.report.worst import WorstFrames
from surgsam2.evaluation.runs.cost import Stopwatch, gpu_peak_mb, reset_gpu_peak
from surgsam2.evaluation.runs.names import model_names, path_names, pruning_name
from surgsam2.evaluation.runs.tracking import Progress, score_results
from surgsam2.evaluation.truth.datasets import Truth
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.evaluation.truth.sequences import Scan
from surgsam2.model.options import ModelOptions
from surgsam2.storage.hashing import sha256_of
from surgsam2.tracking.options import TrackingOptions

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model
    from surgsam2.prompts import Prompt, PromptSet
    from surgsam2.video import Video


OVERLAPS = (
    "Each pixel of a model's answer is given to one object at most, that with the highest "
    "logit, before anything is scored. The SurgSAM2 release scores each object's own mask, "
    "which may overlap others: where objects touch, J, F and Dice can differ from its numbers."
)
"""Sentences of the report about how overlapping masks are counted."""


class LoadedFacts(NamedTuple):
    """Facts about a model that are known only when it is loaded."""

    config: str
    image_size: int
    """Side of the square input in pixels."""

    @classmethod
    def of(cls, model: SurgSAM2Model) -> LoadedFacts:
        """Read the facts, after which the model need not be kept."""
        return cls(model.name, model.image_size)


@dataclass(frozen=True)
class ModelSpec:
    """Arguments of `load_model` for one model of an evaluation."""

    model: str = "demo"
    config: str | None = None
    pruning: str = "capped"
    device: str = "auto"
    dtype: str = "auto"
    name: str | None = None
    """Name in tables, instead of the name of the file."""
    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    """The memory policy with its settings; direction, range and post-processing do not count."""

    def load(self) -> SurgSAM2Model:
        """Load the model. Raises what `load_model` raises."""
        return ModelOptions(
            model=self.model,
            config=self.config,
            device=self.device,
            dtype=self.dtype,
            pruning=self.pruning,
        ).load()


def titles(specs: Sequence[ModelSpec], models: Sequence[LoadedFacts]) -> list[str]:
    """Return a different name for each spec, from its model, input size and pruning.

    Args:
        specs: The models of the evaluation.
        models: What each of them turned out to be when it was loaded.
    """
    labels = path_names([spec.model for spec in specs])
    configs = path_names(
        [spec.config or model.config for spec, model in zip(specs, models, strict=True)]
    )
    return model_names(
        [spec.name or label for spec, label in zip(specs, labels, strict=True)],
        configs,
        [model.image_size for model in models],
        [pruning_name(spec.pruning, spec.tracking.memory) for spec in specs],
    )


def run_model(
    spec: ModelSpec,
    model: SurgSAM2Model,
    setting: PromptSetting,
    scans: Sequence[Scan],
    truth: Truth,
    *,
    title: str,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Track every sequence with a model and return the record of the run.

    Args:
        spec: What the model was loaded from.
        model: The loaded model.
        setting: Prompt setting.
        scans: The sequences, all with frames.
        truth: The dataset they belong to.
        title: Name of the run, different from that of any other run.
        seed: Seed of the points that are sampled from the truth.
        progress: Called after each group of frames.
    """
    from surgsam2.tracking.memory_policy import MemoryPolicy
    from surgsam2.tracking.segment import segment_video

    policy = MemoryPolicy.of(spec.tracking)
    watch, worst, oracle = Stopwatch(), WorstFrames(), OracleGap()
    problems = Problems()
    scored = []
    reset_gpu_peak(model)
    for each in scans:
        prompts = prompts_for(each, setting, seed)
        _remove_vanishing(model, each, prompts, problems)
        assert each.sequence.open is not None
        with each.sequence.open() as video:
            if setting != "mask":
                _compare_with_best_mask(model, video, each, prompts, oracle)
            scored.append(
                score_results(
                    each,
                    watch.sequence(
                        segment_video(model, video, prompts, allow_overlap=False, **asdict(policy))
                    )
                    if prompts
                    else (),
                    label=f"{title}, {setting}, {each.sequence.name}",
                    on_scored=partial(worst.offer, each, video),
                    progress=progress,
                )
            )
    return run_record(
        title,
        scored,
        kind="model",
        class_names=truth.class_names,
        model=Path(spec.model).name,
        config=model.name,
        checkpoint_sha256=None if model.checkpoint is None else sha256_of(model.checkpoint),
        image_size=model.image_size,
        efp=spec.pruning,
        memory=policy.described(),
        prompts=setting,
        speed=watch.record(gpu_peak_mb(model)),
        oracle=oracle.result() if oracle.chosen else None,
        worst=worst.records(scored),
        problems=problems.as_list(),
    )


def _remove_vanishing(
    model: SurgSAM2Model, each: Scan, prompts: PromptSet, problems: Problems
) -> None:
    """Remove the prompts whose mask has no pixel left at the size of the network's input."""
    for prompted in prompts.objects:
        prompt = prompted.prompts[0]
        if prompt.mask is not None and not model.resize_mask(prompt.mask).any():
            prompts.remove(prompted.id)
            size = model.image_size
            message = f"the mask of object {prompted.id} vanishes in the {size}x{size} input"
            problems.add(
                "prompt-vanishes", each.sequence.name, message, each.sequence.frames[prompt.frame]
            )


def _compare_with_best_mask(
    model: SurgSAM2Model, video: Video, each: Scan, prompts: PromptSet, oracle: OracleGap
) -> None:
    """Compare the mask that the network chooses with the best of those that it offers."""
    for prompted in prompts:
        prompt = prompted.prompts[0]
        offered = candidate_masks(model, video[prompt.frame], prompt)
        if offered is not None:
            masks, scores = offered
            oracle.add(masks, scores, each.sequence.labels(prompt.frame) == prompted.id)


def candidate_masks(
    model: SurgSAM2Model, frame: np.ndarray, prompt: Prompt
) -> tuple[np.ndarray, list[float]] | None:
    """Return all masks that the network offers for an ambiguous prompt.

    SAM 2 decodes several masks for a single click and keeps the one with the highest
    predicted IoU.

    Args:
        model: The model.
        frame: (H, W, 3) uint8 RGB.
        prompt: The prompt. One with a mask or a box is not ambiguous.

    Returns:
        (M, H, W) bool masks and M predicted IoUs; None when the network offers one mask.
    """
    import torch

    from surgsam2.tracking.postprocess import to_video_resolution

    if prompt.mask is not None or prompt.box is not None:
        return None
    height, width = frame.shape[:2]
    scale = model.image_size / np.array([width, height], np.float32)
    points = torch.from_numpy(prompt.points * scale)[None].to(model.device)
    labels = torch.from_numpy(prompt.labels.copy())[None].to(model.device)
    with torch.no_grad(), model.autocast():
        features = model.network.encode_image(model.preprocess(frame))
        candidates = model.network.candidate_masks(features, points, labels)
    if candidates is None:
        return None
    logits, scores = candidates
    masks = to_video_resolution(logits[:, None], width, height) > 0
    return masks.cpu().numpy(), scores.tolist()
