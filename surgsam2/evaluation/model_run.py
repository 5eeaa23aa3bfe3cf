"""Run a model on the sequences of a dataset, in one prompt setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from surgsam2.evaluation.calibration import OracleGap
from surgsam2.evaluation.datasets import Truth
from surgsam2.evaluation.memory import gpu_peak_mb, reset_gpu_peak
from surgsam2.evaluation.names import model_names, path_names
from surgsam2.evaluation.problems import Problems
from surgsam2.evaluation.prompting import PromptSetting, prompts_for
from surgsam2.evaluation.record import run_record
from surgsam2.evaluation.scoring import Progress, score_results
from surgsam2.evaluation.stopwatch import Stopwatch
from surgsam2.evaluation.truth import Scan
from surgsam2.evaluation.worst import WorstPictures
from surgsam2.storage.hashing import sha256_of

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model
    from surgsam2.prompts import PromptSet
    from surgsam2.video import Video


OVERLAPS = (
    "Each pixel of a model's answer is given to one object at most, that with the highest "
    "logit, before anything is scored. The SurgSAM2 release scores each object's own mask, "
    "which may overlap others: where objects touch, J, F and Dice can differ from its numbers."
)
"""How overlapping masks are counted, for the report."""


class LoadedFacts(NamedTuple):
    """What is known of a model only once it is loaded."""

    config: str
    image_size: int

    @classmethod
    def of(cls, model: SurgSAM2Model) -> LoadedFacts:
        """The facts of a model, which need not be kept for them."""
        return cls(model.name, model.image_size)


@dataclass(frozen=True)
class ModelSpec:
    """A model as `load_model` takes it."""

    model: str = "demo"
    config: str | None = None
    pruning: str = "capped"
    device: str = "auto"
    dtype: str = "auto"
    name: str | None = None
    """For tables, instead of the name of the file."""

    def load(self) -> SurgSAM2Model:
        """Load it. Raises what `load_model` raises."""
        from surgsam2.model.build import load_model

        return load_model(
            self.model,
            config=self.config,
            device=self.device,
            dtype=self.dtype,
            pruning=self.pruning,
        )


def titles(specs: Sequence[ModelSpec], models: Sequence[LoadedFacts]) -> list[str]:
    """A name per spec, all different: model, input size, pruning. `models`: what they loaded."""
    labels = path_names([spec.model for spec in specs])
    configs = path_names(
        [spec.config or model.config for spec, model in zip(specs, models, strict=True)]
    )
    return model_names(
        [spec.name or label for spec, label in zip(specs, labels, strict=True)],
        configs,
        [model.image_size for model in models],
        [spec.pruning for spec in specs],
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
    """The record of a run. `model` is what `spec` loaded; every sequence has its frames.

    title: names the run; no other run of the evaluation has it.
    """
    from surgsam2.tracking.segment import segment_video

    watch, pictures, oracle = Stopwatch(), WorstPictures(), OracleGap()
    problems = Problems()
    scored = []
    reset_gpu_peak(model)
    for each in scans:
        prompts = prompts_for(each, setting, seed)
        _leave_out_vanishing(model, each, prompts, problems)
        assert each.sequence.open is not None
        with each.sequence.open() as video:
            if setting != "mask":
                _choose_among_masks(model, video, each, prompts, oracle)
            scored.append(
                score_results(
                    each,
                    watch.sequence(segment_video(model, video, prompts, non_overlap=True))
                    if prompts
                    else (),
                    label=f"{title}, {setting}, {each.sequence.name}",
                    look=partial(pictures.offer, each, video),
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
        prompts=setting,
        speed=watch.record(gpu_peak_mb(model)),
        oracle=oracle.result() if oracle.chosen else None,
        worst=pictures.records(scored),
        problems=problems.as_list(),
    )


def _leave_out_vanishing(
    model: SurgSAM2Model, each: Scan, prompts: PromptSet, problems: Problems
) -> None:
    """Objects whose mask on their first frame is too small for the network's input."""
    for prompted in prompts.objects:
        prompt = prompted.prompts[0]
        if prompt.mask is not None and not model.resize_mask(prompt.mask).any():
            prompts.remove(prompted.id)
            size = model.image_size
            message = f"the mask of object {prompted.id} vanishes in the {size}x{size} input"
            problems.add(
                "prompt-vanishes", each.sequence.name, message, each.sequence.frames[prompt.frame]
            )


def _choose_among_masks(
    model: SurgSAM2Model, video: Video, each: Scan, prompts: PromptSet, oracle: OracleGap
) -> None:
    """Where the network answers a click with several masks, compare its choice to the best."""
    from surgsam2.evaluation.multimask import all_masks

    for prompted in prompts:
        prompt = prompted.prompts[0]
        answer = all_masks(model, video[prompt.frame], prompt)
        if answer is not None:
            masks, scores = answer
            oracle.add(masks, scores, each.sequence.labels(prompt.frame) == prompted.id)
