"""J&F of a network during training, tracked by the engine that users run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from surgsam2.data import Sequence
from surgsam2.errors import InputError
from surgsam2.evaluation.metrics import region_similarity, score_mask
from surgsam2.evaluation.prompting import POINTS, sample_points
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.tracking.tracker import Tracker

PROMPTS = ("mask", "box", *POINTS)


@dataclass(frozen=True)
class ClipScores:
    """Scores of one sequence: means over its objects, each over the frames after the prompt."""

    j: float
    f: float
    objects: int
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
    tracker = Tracker(model, labels.shape[1], labels.shape[0], first_frame=first)
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
    """Make one prompt of a kind for every object of (H, W) labels."""
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
                continue  # A single row or column has no box.
            prompts.add(object_id=object_id, frame=frame, box=[float(v) for v in box])
        else:
            points = sample_points(mask, POINTS[prompt], seed=seed, key=f"{key}/{object_id}")
            prompts.add(object_id=object_id, frame=frame, points=points)
    return prompts
