"""Scores of objects that disappear and come back, from their scores over the frames.

An absence is a stretch of annotated frames, after the object's prompt, on which the object
is not visible in the truth, with visible frames before and after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

EARLY = 20
"""Number of annotated frames after a return that count as early."""
RECOVERED = 0.5
"""J from which an object counts as found again."""
SHORTEST = 5
"""Number of annotated frames that an absence has at least."""

SCORES = {
    "before": "J&F before",
    "false_masks": "false masks",
    "early": f"J, first {EARLY}",
    "after": "J&F after",
    "frames_to_recover": "frames to recover",
    "switches": "identity switches",
}
"""Keys of the scores of a return, with their titles in tables."""


def find_absences(visible: Sequence[bool], start: int) -> list[tuple[int, int]]:
    """Return the absences as (first position, position of the return).

    Args:
        visible: Whether the truth has the object, per annotated frame.
        start: Position of the prompted frame.
    """
    absences = []
    gone: int | None = None
    for i in range(start, len(visible)):
        if not visible[i]:
            gone = i if gone is None else gone
        elif gone is not None:
            if i - gone >= SHORTEST and gone > start:
                absences.append((gone, i))
            gone = None
    return absences


def score_returns(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Score each absence of an object.

    Args:
        item: Record of the object, with `frames`, `J`, `F`, `visible`, `prompt_frame` and,
            where it is not 0 everywhere, `on_other`.

    Returns:
        Per absence: `first` and `last` frame of the absence, `frames`, the number of its
        annotated frames, and

        * `before`: mean J&F from the frame after the prompt to the absence.
        * `false_masks`: share of the absence's frames on which something is predicted.
        * `early`: mean J over the first `EARLY` frames from the return on.
        * `after`: mean J&F from the return to the end or to the next absence.
        * `frames_to_recover`: frames from the return until J reaches `RECOVERED`; all frames
          until the end where it does not.
        * `recovered`: whether it does.
        * `switches`: how often, from the beginning of the absence on, the prediction changes
          to lie mostly on another object.
        * `course`: J per frame from the return on.
    """
    frames, j, f = item["frames"], item["J"], item["F"]
    on_other = item.get("on_other") or [0] * len(frames)
    prompt = item["prompt_frame"]
    start = frames.index(prompt) if prompt in frames else 0
    visible = [bool(v) for v in item["visible"]]
    absences = find_absences(visible, start)
    found = []
    for number, (gone, back) in enumerate(absences):
        end = absences[number + 1][0] if number + 1 < len(absences) else len(frames)
        after = [i for i in range(back, end) if visible[i]]
        recovery = next((n for n, i in enumerate(after) if j[i] >= RECOVERED), None)
        before = range(start + 1, gone) if gone > start + 1 else range(start, gone)
        found.append(
            {
                "first": frames[gone],
                "last": frames[back - 1],
                "frames": back - gone,
                "before": fmean((j[i] + f[i]) / 2 for i in before),
                # J is 0 on such a frame exactly when something is predicted.
                "false_masks": fmean(float(j[i] < 1) for i in range(gone, back)),
                "early": fmean(j[i] for i in after[:EARLY]),
                "after": fmean((j[i] + f[i]) / 2 for i in after),
                "frames_to_recover": len(after) if recovery is None else recovery,
                "recovered": recovery is not None,
                "switches": sum(on_other[i] and not on_other[i - 1] for i in range(gone, end)),
                "course": [round(j[i], 4) for i in after],
            }
        )
    return found


def summarize_returns(returns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the scores of absences; `absences` and `recovered` are numbers of absences."""
    means = {key: fmean(float(r[key]) for r in returns) if returns else None for key in SCORES}
    longest = max((len(r["course"]) for r in returns), default=0)
    course = [
        round(fmean(r["course"][i] for r in returns if i < len(r["course"])), 4)
        for i in range(longest)
    ]
    recovered = sum(bool(r["recovered"]) for r in returns)
    return {"absences": len(returns), "recovered": recovered, **means, "course": course}
