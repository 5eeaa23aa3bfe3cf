"""Smooth functions of time, from which everything in a scene moves.

Time is a frame number and may be fractional. All are closed forms of time, so
any frame of a clip can be rendered without rendering those before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def smoothstep(x: float) -> float:
    """Return 0 below 0, 1 above 1, and a smooth value between."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


class Wave:
    """A bounded, aperiodic oscillation: the sum of three sinusoids per component.

    `period` is the range of the slowest sinusoid's period in frames; values stay
    within ``+-amplitude``.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        dims: int,
        amplitude: float,
        period: tuple[float, float] = (40.0, 90.0),
    ) -> None:
        weights = rng.uniform(0.3, 1.0, (dims, 3)) * np.array([1.0, 0.6, 0.3])
        self._weights = amplitude * weights / weights.sum(axis=1, keepdims=True)
        speed = 2.0 * np.pi / rng.uniform(*period, (dims, 1))
        self._speed = speed * np.array([1.0, 1.7, 2.9])
        self._phase = rng.uniform(0.0, 2.0 * np.pi, (dims, 3))

    def __call__(self, t: float) -> np.ndarray:
        """Return the (dims,) float64 value at time `t`."""
        wave = np.sin(self._speed * t + self._phase)
        return np.asarray((self._weights * wave).sum(axis=1))


class Path:
    """A smooth curve through waypoints that are `gap` frames apart (Catmull-Rom)."""

    def __init__(self, waypoints: np.ndarray, gap: float, start: float = 0.0) -> None:
        self._points = np.asarray(waypoints, dtype=np.float64)
        self._gap = gap
        self._start = start

    def __call__(self, t: float) -> np.ndarray:
        """Return the (dims,) float64 position; constant before the first and after the last."""
        last = len(self._points) - 1
        s = min(max((t - self._start) / self._gap, 0.0), float(last))
        i = min(int(s), max(last - 1, 0))
        u = s - i
        p0, p1, p2, p3 = (self._points[min(max(i + k, 0), last)] for k in (-1, 0, 1, 2))
        return np.asarray(
            0.5
            * (
                2.0 * p1
                + (p2 - p0) * u
                + (2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3) * u**2
                + (3.0 * p1 - p0 - 3.0 * p2 + p3) * u**3
            )
        )


class Presence:
    """How far an object is inside the scene: 0 is out of it, 1 in its place.

    `stays` are (enter, leave) times; each arrival and departure takes `ramp` frames:
    the way in starts at `enter` and the way out ends at `leave`.
    """

    def __init__(self, stays: Sequence[tuple[float, float]], ramp: float) -> None:
        self._stays = tuple(stays)
        self._ramp = max(ramp, 1e-3)

    def __call__(self, t: float) -> float:
        """Return a value between 0 and 1."""
        return max(
            (
                min(smoothstep((t - enter) / self._ramp), smoothstep((leave - t) / self._ramp))
                for enter, leave in self._stays
            ),
            default=0.0,
        )


ALWAYS = Presence([(-1e9, 1e9)], 1.0)
"""An object that never leaves."""


class Growth:
    """A size that is 0 before `start` and then grows from 0.3 to 1 in `rise` frames."""

    def __init__(self, start: float, rise: float) -> None:
        self._start = start
        self._rise = max(rise, 1e-3)

    def __call__(self, t: float) -> float:
        """Return a value between 0 and 1."""
        if t <= self._start:
            return 0.0
        return 0.3 + 0.7 * smoothstep((t - self._start) / self._rise)


FULL_SIZE = Growth(-1e9, 1.0)
"""An object that does not grow."""
