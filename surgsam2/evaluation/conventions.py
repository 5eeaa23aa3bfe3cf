"""Which frames of a sequence count, and how scores are averaged.

Three conventions are always computed, side by side:

* ``davis``: the first and the last annotated frame of a sequence do not count, as in
  the DAVIS semi-supervised benchmark (the first is given to the tracker, the last is
  left out by tradition). Objects count before they appear, too, which is easy, and on
  their prompt where that is not the first frame.
* ``surgsam2``: as the SurgSAM2 release counts. It writes an object's masks from its
  first frame on and drops the first and the last of that object's own list: an object
  does not count before it appears, nor where it is prompted, nor on the last frame.
* ``all``: every annotated frame counts, prompted frames too.

In all of them an object counts while it is hidden: a frame where neither truth nor
prediction has the object scores 1, as the DAVIS tool counts it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
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
    """Annotated frames left out at the start."""
    skip_last: int
    """Annotated frames left out at the end."""
    from_prompt: bool = False
    """Whether the start is the object's prompt, not the sequence's first frame."""

    def counted(self, frames: Sequence[int], prompt_frame: int | None = None) -> range:
        """Positions in `frames` (the annotated frames of a sequence, in order) that count.

        prompt_frame: the object's; one without a prompt starts with its sequence.
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
"""Keys of a summary, in the order of a table."""

CLASS_SCORES = {
    "challenge_iou": "Challenge IoU",
    "isi_iou": "ISI IoU",
    "mean_class_iou": "mean class IoU",
}
"""Keys and titles of the class IoUs, in the order of a table."""


def summarize_object(scores: ObjectScores, convention: Convention) -> dict[str, Any]:
    """Means over the counted frames of one object; None where no frame counts."""
    kept = convention.counted(scores.frames, scores.prompt_frame)
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
