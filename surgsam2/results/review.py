"""The doubtful parts of a tracked video, which a person should look at.

    measurements = Measurements(video.frame_count)
    for result in segment_video(...):
        measurements.observe(result)
    for stretch in doubtful_stretches(measurements):
        print(stretch.object_id, stretch.first, stretch.last, stretch.reasons)

Only numpy is needed. Frames are given by their index from 0; pixels are (x, y) as in prompts.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from surgsam2.results.frame_result import FrameResult
from surgsam2.results.thresholds import Thresholds

QUANTITIES = ("presence", "iou", "area", "x", "y")
"""Names of the measurements: two scores of the model (0 to 1), area and centroid in pixels."""


class Measurements:
    """Five float32 numbers per object and frame; NaN means that a number is not known.

    The scores belong to the mask that the model gave. They are forgotten when a frame is
    measured again with another mask, such as one that was painted by hand.

    Args:
        frame_count: number of frames of the video.
    """

    def __init__(self, frame_count: int) -> None:
        self.frame_count = frame_count
        self._tables: dict[int, np.ndarray] = {}

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects with a measurement, in the order in which they came."""
        return tuple(self._tables)

    def of(self, object_id: int, quantity: str) -> np.ndarray:
        """Return one quantity of an object on all frames.

        Args:
            object_id: id of the object.
            quantity: one of `QUANTITIES`.

        Returns:
            (frame_count,) float32, read-only; all NaN for an object that is not known.
        """
        row = QUANTITIES.index(quantity)
        table = self._tables.get(object_id)
        values = np.full(self.frame_count, np.nan, np.float32) if table is None else table[row]
        values = values.view()
        values.flags.writeable = False
        return values

    def put(self, object_id: int, quantity: str, values: np.ndarray) -> None:
        """Set one quantity on all frames: (frame_count,) numbers, NaN where they are not known."""
        self._table(object_id)[QUANTITIES.index(quantity)] = values

    def observe(self, result: FrameResult) -> None:
        """Measure the masks of a tracker's result and keep its scores."""
        rows = zip(result.object_ids, result.masks, result.presence, result.iou_scores, strict=True)
        for object_id, mask, presence, iou in rows:
            self.measure(result.frame_index, object_id, mask)
            self.score(result.frame_index, object_id, float(presence), float(iou))

    def measure(self, frame: int, object_id: int, mask: np.ndarray) -> None:
        """Measure a mask, (H, W) bool; scores stay only if it is the one measured before."""
        values = np.array(_measure(mask), np.float32)
        column = self._table(object_id)[:, frame]
        if not np.array_equal(column[2:], values, equal_nan=True):
            column[:2], column[2:] = np.nan, values

    def score(self, frame: int, object_id: int, presence: float, iou: float) -> None:
        """Keep the model's scores, 0 to 1, of the mask that was measured."""
        self._table(object_id)[:2, frame] = presence, iou

    def knows(self, frame: int, object_id: int) -> bool:
        """Return whether the object was measured on the frame."""
        return bool(np.isfinite(self.of(object_id, "area")[frame]))

    def remove(self, object_id: int) -> None:
        """Forget an object."""
        self._tables.pop(object_id, None)

    def _table(self, object_id: int) -> np.ndarray:
        if object_id not in self._tables:
            size = (len(QUANTITIES), self.frame_count)
            self._tables[object_id] = np.full(size, np.nan, np.float32)
        return self._tables[object_id]


class Reason(enum.Enum):
    """A reason for which frames are doubtful."""

    LOW_IOU = "low predicted IoU"
    PRESENCE = "presence changes"
    AREA = "area jumps"
    POSITION = "position jumps"
    BAD = "marked as bad"


@dataclass(frozen=True)
class Stretch:
    """Frames of one object that should be looked at together."""

    object_id: int | None
    """Id of the object; None means all objects."""
    first: int
    """Index of the first frame."""
    last: int
    """Index of the last frame, which belongs to the stretch."""
    reasons: tuple[Reason, ...]
    """The reasons, at least one; each holds for some of the frames."""

    def __contains__(self, frame: int) -> bool:
        return self.first <= frame <= self.last

    @property
    def frames(self) -> range:
        """Indices of the frames."""
        return range(self.first, self.last + 1)


def doubtful_stretches(
    measurements: Measurements,
    thresholds: Thresholds | None = None,
    good: Collection[int] = (),
    bad: Collection[int] = (),
) -> list[Stretch]:
    """Return the stretches of frames that should be looked at, in the order of frames.

    Args:
        measurements: the measurements of all objects.
        thresholds: the limits; None takes the defaults.
        good: frames that a person found right; none of them is doubtful.
        bad: frames that a person found wrong; they are doubtful for that reason.
    """
    limits = thresholds or Thresholds()
    fine = _marked(good, measurements.frame_count)
    found = []
    for object_id in measurements.object_ids:
        flags = doubtful_frames(measurements, object_id, limits)
        either = np.any(list(flags.values()), axis=0)
        for first, last in _runs(either, fine, limits.join):
            why = tuple(reason for reason, on in flags.items() if on[first : last + 1].any())
            found.append(Stretch(object_id, first, last, why))
    wrong = _marked(bad, measurements.frame_count)
    found += [Stretch(None, first, last, (Reason.BAD,)) for first, last in _runs(wrong, fine, 0)]
    return sorted(found, key=lambda stretch: (stretch.first, stretch.last, stretch.object_id or 0))


def doubtful_frames(
    measurements: Measurements, object_id: int, thresholds: Thresholds
) -> dict[Reason, np.ndarray]:
    """Return for each reason the doubtful frames of one object, (frame_count,) bool."""
    presence, iou, area, x, y = (measurements.of(object_id, name) for name in QUANTITIES)
    known = np.isfinite(area)
    seen = known & (area > 0) & ~(presence < thresholds.visible)
    both_known, both_seen = _with_previous(known), _with_previous(seen)
    before = np.roll(area, 1)
    large, small = np.fmax(area, before), np.fmin(area, before)
    counts = both_seen & (large >= thresholds.min_area)
    distance = np.hypot(x - np.roll(x, 1), y - np.roll(y, 1))
    return {
        Reason.LOW_IOU: seen & (iou < thresholds.low_iou),
        Reason.PRESENCE: both_known & (seen != np.roll(seen, 1)),
        Reason.AREA: counts & (large > thresholds.area_factor * small),
        Reason.POSITION: counts & (distance > thresholds.position_jump * np.sqrt(large)),
    }


@dataclass(frozen=True)
class JointStretch:
    """The stretches of several objects on about the same frames, to be looked at together."""

    stretches: tuple[Stretch, ...]
    """At least one."""

    @property
    def object_ids(self) -> tuple[int | None, ...]:
        """Ids of the objects, each once; None means all objects."""
        return tuple(dict.fromkeys(stretch.object_id for stretch in self.stretches))

    @property
    def first(self) -> int:
        """Index of the first frame of all stretches."""
        return min(stretch.first for stretch in self.stretches)

    @property
    def last(self) -> int:
        """Index of the last frame of all stretches."""
        return max(stretch.last for stretch in self.stretches)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons of all stretches, each once."""
        found = {reason for stretch in self.stretches for reason in stretch.reasons}
        return tuple(reason for reason in Reason if reason in found)

    @property
    def frames(self) -> range:
        """Indices of the frames."""
        return range(self.first, self.last + 1)

    def __contains__(self, frame: int) -> bool:
        return self.first <= frame <= self.last


def joint_stretches(stretches: Sequence[Stretch]) -> list[JointStretch]:
    """Put stretches together that have at least half of their frames in common.

    Args:
        stretches: the stretches, in the order of their first frames.

    Returns:
        The joint stretches in the same order; a stretch that is like no other is alone.
    """
    groups: list[list[Stretch]] = []
    near: list[list[Stretch]] = []  # those that reach the present stretch
    for stretch in stretches:
        near = [group for group in near if any(stretch.first in other for other in group)]
        for group in near:
            if all(_alike(stretch, other) for other in group):
                group.append(stretch)
                break
        else:
            groups.append([stretch])
            near.append(groups[-1])
    return [JointStretch(tuple(group)) for group in groups]


def _alike(one: Stretch, other: Stretch) -> bool:
    shared = min(one.last, other.last) - max(one.first, other.first) + 1
    return 2 * shared >= max(len(one.frames), len(other.frames))


def next_doubtful(stretches: Sequence[Stretch], frame: int, step: int = 1) -> int | None:
    """Return the first frame of the next stretch after `frame`, or before it if `step` is -1."""
    starts = sorted({stretch.first for stretch in stretches})
    return next((start for start in starts[::step] if (start - frame) * step > 0), None)


def _with_previous(flags: np.ndarray) -> np.ndarray:
    """Return where the flags of a frame and of the frame before it are both set."""
    both = flags & np.roll(flags, 1)
    both[:1] = False
    return np.asarray(both)


def _marked(frames: Collection[int], count: int) -> np.ndarray:
    flags = np.zeros(count, bool)
    flags[[frame for frame in frames if 0 <= frame < count]] = True
    return flags


def _runs(flags: np.ndarray, good: np.ndarray, join: int) -> Iterator[tuple[int, int]]:
    """Yield first and last frames of runs of flags; a good frame ends a run."""
    first = last = -1
    for frame in np.flatnonzero(flags & ~good).tolist():
        if first >= 0 and (frame - last > join + 1 or good[last:frame].any()):
            yield first, last
            first = -1
        first, last = (frame if first < 0 else first), frame
    if first >= 0:
        yield first, last


def _measure(mask: np.ndarray) -> tuple[float, float, float]:
    """Return area and centroid of an (H, W) bool mask; the centroid of an empty one is NaN."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return 0.0, np.nan, np.nan
    top = int(rows[0])
    # Matrix products of float32 are several times faster than counting, and exact up to 2**24.
    band = mask[top : rows[-1] + 1].astype(np.float32)
    height, width = band.shape
    per_row = band @ np.ones(width, np.float32)
    per_column = np.ones(height, np.float32) @ band
    area = per_row.sum(dtype=np.float64)
    x = per_column @ np.arange(width, dtype=np.float64) / area
    y = per_row @ np.arange(height, dtype=np.float64) / area + top
    return float(area), float(x), float(y)
