"""Which parts of a tracked video deserve a look.

    measurements = Measurements(video.frame_count)
    for result in segment_video(...):
        measurements.observe(result)
    for stretch in doubtful_stretches(measurements):
        print(stretch.object_id, stretch.first, stretch.last, stretch.reasons)

Only numpy is needed. A frame is an index from 0, pixels are (x, y) as in prompts.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from surgsam2.errors import InputError
from surgsam2.results.frame_result import FrameResult

QUANTITIES = ("presence", "iou", "area", "x", "y")
"""What is measured: two scores of the model (0 to 1), pixels, and the centroid in pixels."""


class Measurements:
    """Five numbers per object and frame, as float32: 20 bytes. NaN is "not known".

    The scores belong to the mask that the model gave. They are forgotten when a frame is
    measured again with another mask, such as one that was painted by hand.

    Args:
        frame_count: length of the video.
    """

    def __init__(self, frame_count: int) -> None:
        self.frame_count = frame_count
        self._tables: dict[int, np.ndarray] = {}

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects with a measurement, in the order they came."""
        return tuple(self._tables)

    def of(self, object_id: int, quantity: str) -> np.ndarray:
        """(frame_count,) float32, read-only; all NaN for an object that is not known.

        Args:
            object_id: of the object.
            quantity: one of `QUANTITIES`.
        """
        row = QUANTITIES.index(quantity)
        table = self._tables.get(object_id)
        values = np.full(self.frame_count, np.nan, np.float32) if table is None else table[row]
        values = values.view()
        values.flags.writeable = False
        return values

    def put(self, object_id: int, quantity: str, values: np.ndarray) -> None:
        """Set one quantity on all frames: (frame_count,) numbers, NaN where not known."""
        self._table(object_id)[QUANTITIES.index(quantity)] = values

    def observe(self, result: FrameResult) -> None:
        """Take a result of the tracker: its masks and its scores."""
        rows = zip(result.object_ids, result.masks, result.presence, result.iou_scores, strict=True)
        for object_id, mask, presence, iou in rows:
            self.measure(result.frame_index, object_id, mask)
            self.score(result.frame_index, object_id, float(presence), float(iou))

    def measure(self, frame: int, object_id: int, mask: np.ndarray) -> None:
        """Take a mask, (H, W) bool; scores stay only if it is the one measured before."""
        values = np.array(_measure(mask), np.float32)
        column = self._table(object_id)[:, frame]
        if not np.array_equal(column[2:], values, equal_nan=True):
            column[:2], column[2:] = np.nan, values

    def score(self, frame: int, object_id: int, presence: float, iou: float) -> None:
        """Take the model's scores, 0 to 1, of the mask that was measured."""
        self._table(object_id)[:2, frame] = presence, iou

    def knows(self, frame: int, object_id: int) -> bool:
        """Whether the object was measured on the frame."""
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
    """Why frames are doubtful."""

    LOW_IOU = "low predicted IoU"
    PRESENCE = "presence changes"
    AREA = "area jumps"
    POSITION = "position jumps"
    BAD = "marked as bad"


@dataclass(frozen=True)
class Thresholds:
    """When a frame is doubtful. The jumps are those from one frame to the next.

    Raises `InputError` for values that cannot be used.
    """

    low_iou: float = 0.5
    """Predicted IoU below this, while the object is visible (0 to 1)."""
    visible: float = 0.5
    """Presence from which on an object counts as visible (0 to 1)."""
    area_factor: float = 1.5
    """The area becomes more than this many times larger or smaller (1 or more)."""
    position_jump: float = 0.5
    """The centroid moves by more than this many sizes of the object, where the size is the
    square root of its area (0 or more)."""
    min_area: float = 25.0
    """Jumps of an object that is smaller than this on both frames do not count (pixels)."""
    join: int = 2
    """Stretches of an object with at most this many frames between them are one."""

    def __post_init__(self) -> None:
        limits = {"low_iou": (0, 1), "visible": (0, 1), "area_factor": (1, np.inf)}
        for field in fields(self):
            low, high = limits.get(field.name, (0, np.inf))
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or not low <= value <= high:
                allowed = f"{low} or more" if high == np.inf else f"{low} to {high}"
                raise InputError(f"threshold {field.name} must be {allowed}, got {value!r}")


@dataclass(frozen=True)
class Stretch:
    """Frames of one object that should be looked at together."""

    object_id: int | None
    """None: all objects."""
    first: int
    last: int
    """The last frame itself belongs to it."""
    reasons: tuple[Reason, ...]
    """At least one, each true for some of its frames."""

    def __contains__(self, frame: int) -> bool:
        return self.first <= frame <= self.last

    @property
    def frames(self) -> range:
        return range(self.first, self.last + 1)


def doubtful_stretches(
    measurements: Measurements,
    thresholds: Thresholds | None = None,
    good: Collection[int] = (),
    bad: Collection[int] = (),
) -> list[Stretch]:
    """What should be looked at, in the order of frames.

    Args:
        measurements: of all objects.
        thresholds: the defaults when None.
        good: frames that were looked at and are right; none of them is doubtful.
        bad: frames that were found wrong; they are doubtful for that reason.
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
    """(frame_count,) bool per reason, from the measurements of one object alone."""
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


def next_doubtful(stretches: Sequence[Stretch], frame: int, step: int = 1) -> int | None:
    """The first frame of the next stretch that begins after `frame`; with -1 before it."""
    starts = sorted({stretch.first for stretch in stretches})
    return next((start for start in starts[::step] if (start - frame) * step > 0), None)


def _with_previous(flags: np.ndarray) -> np.ndarray:
    """Where a flag and the one of the frame before are both set."""
    both = flags & np.roll(flags, 1)
    both[:1] = False
    return np.asarray(both)


def _marked(frames: Collection[int], count: int) -> np.ndarray:
    flags = np.zeros(count, bool)
    flags[[frame for frame in frames if 0 <= frame < count]] = True
    return flags


def _runs(flags: np.ndarray, good: np.ndarray, join: int) -> Iterator[tuple[int, int]]:
    """First and last frames of runs of flags; a good frame is in none and ends one."""
    first = last = -1
    for frame in np.flatnonzero(flags & ~good).tolist():
        if first >= 0 and (frame - last > join + 1 or good[last:frame].any()):
            yield first, last
            first = -1
        first, last = (frame if first < 0 else first), frame
    if first >= 0:
        yield first, last


def _measure(mask: np.ndarray) -> tuple[float, float, float]:
    """Area and centroid of an (H, W) bool mask; the centroid of an empty one is NaN."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return 0.0, np.nan, np.nan
    top = int(rows[0])
    # as float32, whose matrix products are several times faster than counting; exact up to 2**24
    band = mask[top : rows[-1] + 1].astype(np.float32)
    height, width = band.shape
    per_row = band @ np.ones(width, np.float32)
    per_column = np.ones(height, np.float32) @ band
    area = per_row.sum(dtype=np.float64)
    x = per_column @ np.arange(width, dtype=np.float64) / area
    y = per_row @ np.arange(height, dtype=np.float64) / area + top
    return float(area), float(x), float(y)
