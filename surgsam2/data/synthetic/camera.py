"""Pose and zoom of the endoscope, and its round field of view."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from surgsam2.data.synthetic.difficulty import Difficulty
from surgsam2.data.synthetic.motion import Path, Wave


@dataclass(frozen=True)
class View:
    """The mapping from world to image at one moment.

    World coordinates are in units of the image's short side, x right and y down, with
    the origin in the middle of the image while the camera is at rest.
    """

    centre: np.ndarray
    """Middle of the image in pixels: (2,), x and y."""
    offset: np.ndarray
    """World point in the middle of the image: (2,)."""
    scale: float
    """Pixels per world unit."""
    angle: float
    """Rotation of the image against the world, in radians."""

    def _rotation(self) -> np.ndarray:
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, -s], [s, c]])

    def to_image(self, points: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """Project (N, 2) world points to pixels; nearer things (`depth` > 0) move more."""
        moved = (np.asarray(points) - self.offset * (1.0 + depth)) * self.scale
        return np.asarray(moved @ self._rotation().T + self.centre)

    def to_world(
        self, x: np.ndarray, y: np.ndarray, depth: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the world x and y of image pixels, given as arrays of any shape."""
        c, s = np.cos(self.angle) / self.scale, np.sin(self.angle) / self.scale
        dx, dy = x - self.centre[0], y - self.centre[1]
        ox, oy = self.offset * (1.0 + depth)
        return c * dx + s * dy + ox, -s * dx + c * dy + oy


class Camera:
    """A hand-held endoscope: slow drift, tremor, some roll and zoom."""

    def __init__(
        self, rng: np.random.Generator, size: tuple[int, int], frames: int, difficulty: Difficulty
    ) -> None:
        w, h = size
        self._centre = np.array([(w - 1) / 2.0, (h - 1) / 2.0])
        self._unit = float(min(w, h))
        gap = float(rng.uniform(16, 28))
        count = int(np.ceil(frames / gap)) + 2
        self._path = Path(rng.normal(0.0, difficulty.pan * 0.55, (count, 2)), gap)
        self._shift = Wave(rng, 2, 0.25 * difficulty.pan, (35, 70))
        self._tremor = Wave(rng, 2, 0.004 * (0.4 + difficulty.level), (8, 16))
        self._roll = Wave(rng, 1, difficulty.roll, (50, 110))
        self._zoom = Wave(rng, 1, difficulty.zoom, (50, 110))
        self._base_zoom = float(rng.uniform(0.92, 1.12))

    def view(self, t: float) -> View:
        """Return the view at time `t`, in frames."""
        reach = self._path(t) + self._shift(t) + self._tremor(t)
        length = float(np.hypot(*reach))
        limit = 0.4
        offset = reach * (limit * np.tanh(length / limit) / length if length > 1e-9 else 1.0)
        zoom = self._base_zoom * float(np.exp(self._zoom(t)[0]))
        return View(self._centre, offset, self._unit * zoom, float(self._roll(t)[0]))


class FieldOfView:
    """The round picture with dark corners, darker towards its rim.

    As in practice, some clips show the whole circle, some only dark corners, some neither.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        w, h = size
        unit = min(w, h)
        diagonal = float(np.hypot(w, h)) / unit / 2.0
        whole = rng.random()
        if whole < 0.35:
            radius = rng.uniform(0.47, 0.52)
        elif whole < 0.8:
            radius = rng.uniform(0.52, 0.8 * diagonal + 0.1)
        else:
            radius = diagonal * 1.1
        centre = np.array([w, h]) / 2.0 + rng.normal(0.0, 0.012, 2) * unit
        y, x = np.mgrid[0:h, 0:w].astype(np.float32)
        distance = np.hypot(x - centre[0], y - centre[1]) / unit
        edge = np.clip((radius - distance) * unit / 2.5 + 0.5, 0.0, 1.0)
        strength = rng.uniform(0.25, 0.6)
        vignette = 1.0 - strength * np.clip(distance / min(radius, diagonal), 0, 1) ** 2.4
        self.radius = radius
        """Radius of the visible circle in units of the short side."""
        self.gain = cv2.merge([(edge * vignette).astype(np.float32)] * 3)
        """Factor on the image: (h, w, 3) float32."""
        self.outside = edge < 0.5
        """Where nothing is visible: (h, w) bool."""
