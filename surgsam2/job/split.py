"""The division of one video into parts that several processes track at the same time.

By objects, each part tracks some of the objects over all frames, and the overlaps of all objects
are resolved when the parts are joined, as in one run. By time, each part tracks all objects over
some of the frames, from a frame on which a person has prompted every object that is there. It
looks at all prompted frames, but it does not have the memories of the tracked frames before it, so
the results are approximate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from surgsam2.job.options import JobOptions
from surgsam2.prompts import PromptSet

OVERLAP = 25
"""Number of frames that a part by time tracks beyond its end, to be compared with the next part."""


@dataclass(frozen=True)
class Split:
    """How a video is divided."""

    objects: tuple[tuple[int, ...], ...] = ()
    """By objects: the ids of the objects of each part; empty by time."""
    cuts: tuple[int, ...] = ()
    """By time: the first frame of each part but the first, ascending; empty by objects. Frames are
    counted among those that are tracked (`JobOptions.stride`)."""
    overlaps: tuple[Mapping[str, Any], ...] = ()
    """By time, once the parts are joined: how far two parts agree; see `compare_parts`."""

    @property
    def parts(self) -> int:
        """Number of parts."""
        return len(self.objects) or len(self.cuts) + 1

    @property
    def identity(self) -> dict[str, Any]:
        """What it adds to the identity of a run: nothing by objects, which changes no result."""
        return {"split at": ", ".join(map(str, self.cuts))} if self.cuts else {}

    def as_json(self, stride: int) -> dict[str, Any]:
        """Return the section ``split`` of a report."""
        if self.objects:
            return {"by": "objects", "parts": self.objects, "approximate": False}
        return {
            "by": "time",
            "first_frames": [cut * stride for cut in self.cuts],
            "approximate": True,
            "overlaps": [dict(overlap) for overlap in self.overlaps],
        }


def plan_split(by: str, count: int, prompts: PromptSet, options: JobOptions) -> Split | None:
    """Decide how a video is divided. It always is in the same way.

    Args:
        by: `objects` or `time`.
        count: greatest number of parts.
        prompts: the prompts of all objects.
        options: the options of the run, whose direction is `forward` for a division by time.

    Returns:
        The division; None if there is only one object, or no frame but the first on which all
        objects that are there by then are prompted.

    Raises:
        PromptError: the stride leaves a prompted frame out.
    """
    if by == "objects":
        ids = [item.id for item in prompts]
        count = min(count, len(ids))
        return (
            Split(objects=tuple(tuple(ids[i::count]) for i in range(count))) if count > 1 else None
        )
    cuts = _cuts(count, prompts.for_every(options.stride), options)
    return Split(cuts=cuts) if cuts else None


def _cuts(count: int, prompts: PromptSet, options: JobOptions) -> tuple[int, ...]:
    """Return the possible cuts that divide the range most evenly, at most `count` - 1."""
    start, stop = options.tracking.start, options.tracking.stop
    first = prompts.frames[0] if start is None else -(-start // options.stride)
    known = prompts.video.frames if prompts.video else None
    last = -(-stop // options.stride) if stop is not None else known
    possible = [
        frame
        for frame in prompts.frames
        if frame > first
        and (last is None or frame < last)
        and all(
            frame in (prompt.frame for prompt in item.prompts)
            for item in prompts
            if item.prompts[0].frame < frame
        )
    ]
    if not possible:
        return ()
    # Without the length of the video, the last part is assumed to be as long as the others.
    end = last or possible[-1] + (possible[-1] - first) / len(possible)
    wanted = [first + (end - first) * part / count for part in range(1, count)]
    return tuple(sorted({min(possible, key=lambda cut: abs(cut - frame)) for frame in wanted}))
