"""Smoke, motion blur of the camera, and the sensor."""

from __future__ import annotations

import cv2
import numpy as np

from surgsam2.data.synthetic import texture
from surgsam2.data.synthetic.difficulty import Difficulty
from surgsam2.data.synthetic.motion import Presence


class Smoke:
    """Drifting smoke that comes and goes and never hides the scene completely."""

    def __init__(self, rng: np.random.Generator, frames: int, difficulty: Difficulty) -> None:
        n = 128
        self._near = self._tile(rng, n)
        self._far = self._tile(rng, n)
        self._drift = rng.normal(0.0, 1.2, (2, 2))
        self._peak = rng.uniform(0.25, 0.4 + 0.3 * difficulty.level)
        start = rng.uniform(-0.3, 0.6) * frames
        length = rng.uniform(0.4, 1.0) * max(frames, 20)
        self._presence = Presence([(start, start + length)], 0.3 * length)
        self._tone = np.float32(rng.uniform(150, 215))

    @staticmethod
    def _tile(rng: np.random.Generator, n: int) -> np.ndarray:
        """Return (n, n) noise whose opposite borders fit together."""
        grid = rng.random((12, 12), dtype=np.float32)
        grid = np.pad(grid, 3, mode="wrap")
        big = cv2.resize(grid, (18 * n // 12, 18 * n // 12), interpolation=cv2.INTER_CUBIC)
        start = 3 * n // 12
        return texture.stretch(big[start : start + n, start : start + n])

    def apply(self, image: np.ndarray, t: float) -> np.ndarray:
        """Return the (h, w, 3) float32 image with smoke at time `t`, in frames."""
        strength = self._peak * self._presence(t)
        if strength < 0.01:
            return image
        h, w = image.shape[:2]
        near, far = (
            _shifted(tile, drift * t)
            for tile, drift in zip((self._near, self._far), self._drift, strict=True)
        )
        density = cv2.resize(near * 0.6 + far[::-1] * 0.4, (w, h), interpolation=cv2.INTER_CUBIC)
        cover = cv2.merge([np.clip(density * np.float32(strength), 0.0, 0.75)] * 3)
        veil = cover * self._tone
        return cv2.add(cv2.multiply(image, 1.0 - cover), veil)


def _shifted(tile: np.ndarray, shift: np.ndarray) -> np.ndarray:
    n = tile.shape[0]
    matrix = np.array([[1, 0, shift[0] % n], [0, 1, shift[1] % n]], np.float32)
    return cv2.warpAffine(tile, matrix, (n, n), borderMode=cv2.BORDER_WRAP)


class Sensor:
    """Tone curve, colour cast, softness and noise of the camera."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        w, h = size
        level = rng.uniform(1.0, 4.0)
        noise = rng.normal(0.0, level, (h + 32, w + 32)).astype(np.float32)
        self._noise = cv2.GaussianBlur(noise, (3, 3), 0.6)
        self._offsets = rng.integers(0, 32, (97, 2))
        gamma = rng.uniform(0.85, 1.2)
        x = np.linspace(0, 1, 256)
        curve = x**gamma
        curve = curve + rng.uniform(0.0, 0.12) * np.sin(2 * np.pi * (curve - 0.5)) / np.pi
        self._curve = texture.to_bytes(np.round(255 * np.clip(curve, 0, 1)))
        self._softness = float(rng.uniform(0.0, 0.9))

    def expose(self, image: np.ndarray, gain: np.ndarray, index: int) -> np.ndarray:
        """Return the final (h, w, 3) uint8 picture; `gain` is that of the field of view."""
        h, w = image.shape[:2]
        if self._softness > 0.35:
            image = cv2.GaussianBlur(image, (3, 3), self._softness)
        y, x = self._offsets[index % len(self._offsets)]
        noise = self._noise[y : y + h, x : x + w]
        image = cv2.add(image, cv2.merge([noise] * 3))
        image = cv2.multiply(image, gain)
        return cv2.LUT(cv2.convertScaleAbs(np.maximum(image, np.float32(0.0))), self._curve)
