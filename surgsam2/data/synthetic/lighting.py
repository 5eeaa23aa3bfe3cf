"""Light of the endoscope, with reflections on wet surfaces."""

from __future__ import annotations

import cv2
import numpy as np

from surgsam2.data.synthetic.motion import Wave
from surgsam2.data.synthetic.raster import Canvas

_COARSE = 24
"""Light directions are computed on a grid of this many points and interpolated."""


class Light:
    """A lamp beside the lens that moves a little and flickers."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self._size = size
        self._unit = float(min(size))
        self._middle = np.array(size) / 2.0 + rng.normal(0.0, 0.1, 2) * self._unit
        self._move = Wave(rng, 2, 0.16, (30, 80))
        self._flicker = Wave(rng, 1, 0.07, (12, 40))
        self._height = rng.uniform(0.55, 1.1)
        self._power = rng.uniform(0.95, 1.35)
        self._ambient = rng.uniform(0.12, 0.3)
        self._falloff = rng.uniform(0.7, 2.0)
        self._sharp = rng.uniform(1.0, 2.2)
        self.tint = np.array([1.0, rng.uniform(0.9, 1.02), rng.uniform(0.82, 1.02)], np.float32)
        """Colour of the lamp, (3,); it is applied with the sensor's gain, not by `shade`."""

    def _field(self, t: float) -> list[np.ndarray]:
        """Return 3 maps of direction times strength and 3 of the half-vector, (h, w) float32."""
        w, h = self._size
        x, y = np.meshgrid(
            (np.arange(_COARSE, dtype=np.float32) + 0.5) * (w / _COARSE),
            (np.arange(_COARSE, dtype=np.float32) + 0.5) * (h / _COARSE),
        )
        lamp = self._middle + self._move(t) * self._unit
        dx, dy = (lamp[0] - x) / self._unit, (lamp[1] - y) / self._unit
        far = np.sqrt(dx * dx + dy * dy + self._height**2)
        lx, ly, lz = dx / far, dy / far, self._height / far
        strength = (
            self._power * (1.0 + self._flicker(t)[0]) / (1.0 + self._falloff * (dx**2 + dy**2))
        )
        half = np.sqrt(lx**2 + ly**2 + (lz + 1.0) ** 2)
        maps = np.dstack([lx * strength, ly * strength, lz * strength]).astype(np.float32)
        halves = np.dstack([lx / half, ly / half, (lz + 1.0) / half]).astype(np.float32)
        return [
            *cv2.split(cv2.resize(maps, (w, h), interpolation=cv2.INTER_LINEAR)),
            *cv2.split(cv2.resize(halves, (w, h), interpolation=cv2.INTER_LINEAR)),
        ]

    def shade(self, canvas: Canvas, t: float) -> np.ndarray:
        """Return the (h, w, 3) float32 image in white light; reflections exceed 255."""
        lx, ly, lz, hx, hy, hz = self._field(t)
        sx, sy, gloss = cv2.split(canvas.surface)
        nx = sx.astype(np.float32) * np.float32(1 / 127.0) - np.float32(128 / 127.0)
        ny = sy.astype(np.float32) * np.float32(1 / 127.0) - np.float32(128 / 127.0)
        flat = cv2.multiply(nx, nx) + cv2.multiply(ny, ny)
        nz = cv2.sqrt(np.maximum(1.0 - flat, np.float32(0.01)))
        diffuse = cv2.multiply(nx, lx) + cv2.multiply(ny, ly) + cv2.multiply(nz, lz)
        diffuse = np.maximum(diffuse, np.float32(0.0)) + np.float32(self._ambient)
        mirror = np.maximum(
            cv2.multiply(nx, hx) + cv2.multiply(ny, hy) + cv2.multiply(nz, hz), np.float32(0.0)
        )
        for _ in range(3):
            mirror = cv2.multiply(mirror, mirror)  # ^8
        broad = cv2.multiply(mirror, mirror)  # ^16
        sharp = broad
        for _ in range(3):
            sharp = cv2.multiply(sharp, sharp)  # ^128
        shine = cv2.addWeighted(sharp, self._sharp, broad, 0.05, 0.0)
        shine = cv2.multiply(shine, gloss.astype(np.float32))
        image = cv2.multiply(canvas.colour, cv2.merge([diffuse] * 3), dtype=cv2.CV_32F)
        return cv2.add(image, cv2.merge([shine] * 3))
