"""Rules for which frames of a sequence count, and averages over frames and objects.

Three conventions are always computed:

* ``davis``: The first and the last annotated frame of a sequence do not count, as in
  the DAVIS semi-supervised benchmark: the first is given to the tracker, and the tool has
  always left out the last. Frames before an object appears count, although they are
  easy; so does an object's prompted frame, unless it is the first of the sequence.
* ``surgsam2``: This is how the SurgSAM2 release counts. It writes an object's masks from
  its first frame on and drops the first and the last frame of that list. An object
  therefore counts neither before it appears, nor on its prompted frame, nor on the last
  frame.
* ``all``: Every annotated frame counts, including prompted ones.

All of them count the frames on which an object is hidden: where neither truth nor
prediction has the object, the frame scores 1, as in the DAVIS tool.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from surgsam2.evaluation.metrics.scores import ObjectScores


@dataclass(frozen=True)
class Convention:
    """Rule for which annotated frames of a sequence count."""

    name: str
    title: str
    """Description for tables and reports."""
    skip_first: int
    """Number of annotated frames left out at the start."""
    skip_last: int
    """Number of annotated frames left out at the end."""
    from_prompt: bool = False
    """Whether counting starts at the object's prompt instead of the sequence's first frame."""

    def counted(self, frames: Sequence[int], prompt_frame: int | None = None) -> range:
        """Return the positions in `frames` that count.

        Args:
            frames: Indices of the annotated frames of a sequence, ascending.
            prompt_frame: Index of the object's prompted frame. An object without one
                starts with its sequence.
        """
        start = self.skip_first
        if self.from_prompt and prompt_frame is not None:
            start += bisect_left(frames, prompt_frame)
        return range(start, max(len(frames) - self.skip_last, start))


DAVIS = Convention("davis", "first and last frame skipped", skip_first=1, skip_last=1)
SURGSAM2 = Convention(
    "surgsam2",
    "from each object's prompt on, its first and last frame skipped",
    skip_first=1,
    skip_last=1,
    from_prompt=True,
)
ALL = Convention("all", "no frame skipped", skip_first=0, skip_last=0)
CONVENTIONS = (DAVIS, SURGSAM2, ALL)

SCORES = ("J&F", "J", "F", "Dice")
"""Keys of a summary, in the order in which tables show them."""

CLASS_SCORES = {
    "challenge_iou": "Challenge IoU",
    "isi_iou": "ISI IoU",
    "mean_class_iou": "mean class IoU",
}
"""Keys and titles of the class IoUs, in the order in which tables show them."""


def summarize_object(scores: ObjectScores, convention: Convention) -> dict[str, Any]:
    """Average one object's scores over its counted frames; scores are None when none counts."""
    kept = convention.counted(scores.frames, scores.prompt_frame)
    if not kept:
        return {**dict.fromkeys(SCORES), "frames": 0}
    j, f, d = (
        math.fsum(values[i] for i in kept) / len(kept)
        for values in (scores.j, scores.f, scores.dice)
    )
    return {"J&F": (j + f) / 2, "J": j, "F": f, "Dice": d, "frames": len(kept)}


def summarize(objects: Iterable[ObjectScores], convention: Convention) -> dict[str, Any]:
    """Average over frames, then over objects, as the DAVIS tool does.

    Every object has the same weight, however long its sequence is. Objects without a
    counted frame are left out; the entry `objects` says how many were counted.
    """
    each = [summarize_object(scores, convention) for scores in objects]
    each = [summary for summary in each if summary["frames"]]
    mean = {key: math.fsum(s[key] for s in each) / len(each) if each else None for key in SCORES}
    return {**mean, "objects": len(each), "frames": sum(s["frames"] for s in each)}
