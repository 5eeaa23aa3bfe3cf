"""What do the limits of `surgsam2 review` find? The masks of a model against a truth.

Every object is tracked from its true mask on its first frame. A frame is bad where the mask has a
Jaccard index below 0.5, an absent object has a mask, or a visible one has none; it is good above
0.8. The table says, for each limit of the predicted IoU, which share of the bad frames is doubtful,
and which share of the good ones:

    python docs/notes/experiments/review_limits.py [--vos FOLDER ...] [--clips N] [--model MODEL]

FOLDER has sequences in VOS layout, `JPEGImages/NAME` and `Annotations/NAME`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

import surgsam2
from surgsam2.data import Sequence, VOSDataset, generate_clip
from surgsam2.evaluation.metrics import region_similarity
from surgsam2.results.review import Measurements, doubtful_frames
from surgsam2.results.thresholds import Thresholds

BAD, GOOD = 0.5, 0.8
LIMITS = (0.0, 0.5, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
Judged = tuple[Measurements, int, np.ndarray]
"""The measurements of a clip, the id of an object, and its J on each frame, NaN where unknown."""


def main() -> None:
    """Track all sequences and print a table for the real and one for the generated ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vos", nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--clips", type=int, default=4, help="number of generated clips")
    parser.add_argument("--model", default="demo")
    args = parser.parse_args()
    model = surgsam2.load_model(args.model)
    real = [sequence for folder in args.vos for sequence in VOSDataset(folder)]
    made = [generate_clip(1000 + seed, frames=60) for seed in range(args.clips)]
    for title, sequences in (("real", real), ("generated", made)):
        judged = [each for sequence in sequences for each in track(model, sequence)]
        if judged:
            print_table(f"{title}, {len(sequences)} sequences", judged)


def track(model: surgsam2.SurgSAM2Model, sequence: Sequence) -> Iterator[Judged]:
    """Track the objects of a sequence from their first masks, and judge every later frame."""
    truth = [sequence.read_labels(index) for index in range(len(sequence))]
    prompts = surgsam2.PromptSet()
    for index, labels in enumerate(truth):
        for object_id in np.unique(labels) if labels is not None else ():
            if 0 < object_id < 255 and object_id not in prompts:
                prompts.add(object_id=int(object_id), frame=index, mask=labels == object_id)
    frames = np.stack([sequence.read_frame(index) for index in range(len(sequence))])
    measured = Measurements(len(sequence))
    scores = {item.id: np.full(len(sequence), np.nan) for item in prompts}
    for result in surgsam2.segment_video(model, frames, prompts):
        measured.observe(result)
        labels = truth[result.frame_index]
        for object_id in result.object_ids:
            first = prompts.for_object(object_id).prompts[0].frame
            if labels is not None and result.frame_index > first:
                scores[object_id][result.frame_index] = region_similarity(
                    result.mask(object_id), labels == object_id
                )
    yield from ((measured, object_id, values) for object_id, values in scores.items())


def print_table(title: str, judged: list[Judged]) -> None:
    """Print for each limit the shares of bad and of good frames that are doubtful."""
    bad = sum(int((scores < BAD).sum()) for _, _, scores in judged)
    good = sum(int((scores > GOOD).sum()) for _, _, scores in judged)
    rows = [f"{title}: {bad} bad frames, {good} good ones", "limit  of bad  of good"]
    for limit in LIMITS:
        caught = alarms = 0
        for measured, object_id, scores in judged:
            found = doubtful_frames(measured, object_id, Thresholds(low_iou=limit))
            doubtful = np.any(list(found.values()), axis=0)
            caught += int((doubtful & (scores < BAD)).sum())
            alarms += int((doubtful & (scores > GOOD)).sum())
        rows.append(f"{limit:5.2f}  {caught / max(bad, 1):6.0%}  {alarms / max(good, 1):7.0%}")
    print("\n".join(rows))  # noqa: T201


if __name__ == "__main__":
    main()
