"""J&F of a network during training, tracked by the engine that users run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from ignite.metrics import Average
from monai.engines import SupervisedEvaluator

from surgsam2.data import Sequence
from surgsam2.errors import InputError
from surgsam2.evaluation.metrics import region_similarity, score_mask
from surgsam2.evaluation.prompting import POINTS, sample_points
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.tracker import Tracker
from surgsam2.training.batches import open_source
from surgsam2.training.config import SourceConfig, ValidationConfig

PROMPTS = ("mask", "box", *POINTS)
"""Kinds of prompts of the validation."""
KEY_METRIC = "J and F"
"""Name of the metric that decides which weights are best, the mean of J and F."""


class ClipEvaluator(SupervisedEvaluator):
    """MONAI's evaluator for validation clips; its key metric is `J and F`, the mean of J and F.

    Further metrics are J for each kind of prompt and the overlap of objects. The clips are
    opened when the evaluator runs for the first time, or by `open`.

    Args:
        config: which clips are tracked, and how they are prompted.
        model: the model to evaluate; its weights may change between two runs.
        val_handlers: handlers of MONAI or Ignite.

    Raises:
        InputError: a kind of prompt does not exist.
    """

    def __init__(
        self, config: ValidationConfig, model: SurgSAM2Model, *, val_handlers: Any = None
    ) -> None:
        wrong = [prompt for prompt in config.prompts if prompt not in PROMPTS]
        if wrong:
            raise InputError(f"validation.prompts must be of {', '.join(PROMPTS)}, got {wrong[0]}")
        self.config = config
        self.model = model
        self.clips: list[tuple[Sequence, str]] | None = None
        """Sequence and kind of prompt of each item; None until they are opened."""
        self.sources: list[tuple[SourceConfig, list[Sequence]]] = []
        """The sources with their sequences, once they are open."""
        super().__init__(
            device=model.device,
            val_data_loader=_Clips(self),
            network=model.network,
            epoch_length=1,
            iteration_update=self._score,
            key_val_metric={KEY_METRIC: self._mean_of("j", "f")},
            additional_metrics={
                **{f"J {p}": self._mean_of("j", prompt=p) for p in config.prompts},
                "overlap of objects": self._mean_of("overlap"),
            },
            val_handlers=val_handlers,
            decollate=False,
        )

    def adopt(self, model: SurgSAM2Model) -> None:
        """Evaluate another model from now on."""
        self.model, self.network = model, model.network
        self.state.device = model.device

    def open(self) -> int:
        """Open the clips if they are not open yet; return their number.

        Raises:
            DatasetError, InputError: as `open_source`.
        """
        if self.clips is None:
            self.sources = [
                (source, open_source(source)[: self.config.clips]) for source in self.config.sources
            ]
            self.clips = [
                (sequence, prompt)
                for _, sequences in self.sources
                for sequence in sequences
                for prompt in self.config.prompts
            ]
            self.state.epoch_length = len(self.clips)
        return len(self.clips)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Track all clips and compute the metrics."""
        self.open()
        super().run(global_epoch)

    def _score(self, engine: Any, item: list[tuple[Sequence, str]]) -> dict[str, Any]:
        self.network.eval()
        ((sequence, prompt),) = item
        scores = score_sequence(self.model, sequence, prompt, self.config.frames)
        if scores is None:
            return {"j": [], "f": [], "overlap": [], "prompt": prompt}
        n = scores.objects
        values = {"j": scores.j, "f": scores.f, "overlap": scores.overlap}
        return {**{name: [value] * n for name, value in values.items()}, "prompt": prompt}

    def _mean_of(self, *keys: str, prompt: str | None = None) -> Average:
        def take(output: dict[str, Any]) -> torch.Tensor:
            wanted = prompt in (None, output["prompt"])
            values = [v for key in keys for v in output[key]] if wanted else []
            return torch.tensor(values, dtype=torch.float64)

        return _MeanOfAll(output_transform=take)


class _Clips:
    """The items of an evaluator, which opens them late."""

    def __init__(self, evaluator: ClipEvaluator) -> None:
        self._evaluator = evaluator

    def __iter__(self) -> Iterator[list[tuple[Sequence, str]]]:
        return iter([clip] for clip in self._evaluator.clips or [])


class _MeanOfAll(Average):
    """The mean of all values of all updates; an update may have none. 0 for none at all."""

    def update(self, output: torch.Tensor) -> None:
        for value in output.tolist():
            super().update(value)

    def compute(self) -> float:
        return float(super().compute()) if self.num_examples else 0.0


@dataclass(frozen=True)
class ClipScores:
    """Scores of one sequence: means over its objects, each over the frames after the prompt."""

    j: float
    """Mean J (IoU), from 0 to 1."""
    f: float
    """Mean F (agreement of edges), from 0 to 1."""
    objects: int
    """Number of objects."""
    overlap: float = 0.0
    """Mean IoU of the masks of different objects; near 1, the network ignores its prompts."""


def score_sequence(
    model: SurgSAM2Model, sequence: Sequence, prompt: str, frames: int, seed: int = 0
) -> ClipScores | None:
    """Track the objects of a sequence's first annotated frame and compare with the truth.

    Args:
        model: the model in training.
        sequence: the sequence to track.
        prompt: `mask`, `box`, `5pt` or `1pt`.
        frames: largest number of frames, from that frame on.
        seed: decides the places of the points.

    Returns:
        The scores, or None where that frame has no object or no annotated frame follows.
    """
    first = sequence.annotated[0]
    frame, labels = sequence.read(first)
    assert labels is not None
    prompts = make_prompts(labels, first, prompt, seed=seed, key=sequence.name)
    ids = [obj.id for obj in prompts.objects]
    last = min(first + frames, len(sequence))
    scores: dict[int, list[tuple[float, float]]] = {i: [] for i in ids}
    overlaps: list[float] = []
    options = TrackingOptions(allow_overlap=True)
    tracker = Tracker(model, labels.shape[1], labels.shape[0], first_frame=first, options=options)
    for index in range(first, last if ids else first):
        result = tracker.step(frame if index == first else sequence.read_frame(index), prompts)
        overlaps += [region_similarity(a, b) for a, b in combinations(result.masks, 2)]
        truth = sequence.read_labels(index)
        if index == first or truth is None:
            continue
        for object_id, mask in zip(result.object_ids, result.masks, strict=True):
            score = score_mask(mask, truth == object_id)
            scores[object_id].append((score.j, score.f))
    means = [np.mean(values, axis=0) for values in scores.values() if values]
    if not means:
        return None
    j, f = np.mean(means, axis=0)
    return ClipScores(float(j), float(f), len(means), float(np.mean(overlaps or [0.0])))


def make_prompts(
    labels: np.ndarray, frame: int, prompt: str, *, seed: int = 0, key: str = ""
) -> PromptSet:
    """Make one prompt of a kind for every object of (H, W) labels.

    Args:
        labels: (H, W) object ids, 0 for none.
        frame: index of the prompted frame.
        prompt: one of `PROMPTS`. A single row or column of pixels gets no box.
        seed: decides the places of points, together with `key`.
        key: text that distinguishes sequences.

    Raises:
        InputError: there is no such kind of prompt.
    """
    if prompt not in PROMPTS:
        raise InputError(f"a validation prompt must be one of {', '.join(PROMPTS)}, got {prompt!r}")
    prompts = PromptSet()
    for object_id in (int(i) for i in np.unique(labels) if i):
        mask = labels == object_id
        if prompt == "mask":
            prompts.add(object_id=object_id, frame=frame, mask=mask)
        elif prompt == "box":
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = [columns[0], rows[0], columns[-1], rows[-1]]
            if box[0] == box[2] or box[1] == box[3]:
                continue
            prompts.add(object_id=object_id, frame=frame, box=[float(v) for v in box])
        else:
            points = sample_points(mask, POINTS[prompt], seed=seed, key=f"{key}/{object_id}")
            prompts.add(object_id=object_id, frame=frame, points=points)
    return prompts
