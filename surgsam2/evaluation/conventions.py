"""Which frames of a sequence count, and how scores are averaged.

Two conventions are always reported side by side:

* ``davis``: the first and the last annotated frame do not count, as in the DAVIS
  semi-supervised benchmark and the SurgSAM2 release (the first is given to the
  tracker, the last is left out by tradition).
* ``all``: every annotated frame counts, prompted frames too.

In both, every object counts on every counted frame of its sequence, also before it
appears and while it is hidden: a frame where neither truth nor prediction has the
object scores 1, as the DAVIS tool counts it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from surgsam2.evaluation.scores import ObjectScores


@dataclass(frozen=True)
class Convention:
    """A rule for which annotated frames count."""

    name: str
    title: str
    skip_first: int
    """Annotated frames left out at the start of each sequence."""
    skip_last: int
    """Annotated frames left out at the end of each sequence."""

    def counted(self, frames: Sequence[int]) -> range:
        """Positions in `frames` (the annotated frames of a sequence, in order) that count."""
        return range(self.skip_first, max(len(frames) - self.skip_last, self.skip_first))


DAVIS = Convention("davis", "first and last frame skipped", skip_first=1, skip_last=1)
ALL = Convention("all", "no frame skipped", skip_first=0, skip_last=0)
CONVENTIONS = (DAVIS, ALL)

SCORES = ("J&F", "J", "F", "Dice")
"""Keys of a summary, in the order of a table."""

CLASS_SCORES = {
    "challenge_iou": "Challenge IoU",
    "isi_iou": "ISI IoU",
    "mean_class_iou": "mean class IoU",
}
"""Keys and titles of the class IoUs, in the order of a table."""


def summarize_object(scores: ObjectScores, convention: Convention) -> dict[str, Any]:
    """Means over the counted frames of one object; None where no frame counts."""
    kept = convention.counted(scores.frames)
    if not kept:
        return {**dict.fromkeys(SCORES), "frames": 0}
    j, f, d = (
        math.fsum(values[i] for i in kept) / len(kept)
        for values in (scores.j, scores.f, scores.dice)
    )
    return {"J&F": (j + f) / 2, "J": j, "F": f, "Dice": d, "frames": len(kept)}


def summarize(objects: Iterable[ObjectScores], convention: Convention) -> dict[str, Any]:
    """Mean over objects of their means over frames, as the DAVIS tool averages.

    Every object weighs the same, however long its sequence. Objects without a
    counted frame are left out and `objects` says how many were counted.
    """
    each = [summarize_object(scores, convention) for scores in objects]
    each = [summary for summary in each if summary["frames"]]
    mean = {key: math.fsum(s[key] for s in each) / len(each) if each else None for key in SCORES}
    return {**mean, "objects": len(each), "frames": sum(s["frames"] for s in each)}
