"""The background: a sheet of tissue that fills the picture and breathes."""

from __future__ import annotations

import cv2
import numpy as np

from surgsam2.data.synthetic import texture
from surgsam2.data.synthetic.camera import View
from surgsam2.data.synthetic.difficulty import Difficulty
from surgsam2.data.synthetic.organs import TISSUES, Ripple, jitter
from surgsam2.data.synthetic.raster import Canvas, Sprite, dense_maps, turn_normals

_MARGIN = 0.4
"""World units of tissue around the picture at rest, over which the camera may travel."""


class Background:
    """Regions of two or three tissues with folds, vessels and a wet relief."""

    def __init__(
        self, rng: np.random.Generator, size: tuple[int, int], difficulty: Difficulty
    ) -> None:
        w, h = size
        unit = min(w, h)
        self._half = np.array([w, h]) / unit / 2.0 + _MARGIN
        self._density = float(np.clip(unit, 96, 640))
        shape = (int(2 * self._half[1] * self._density), int(2 * self._half[0] * self._density))
        self._sprite = _sheet(rng, shape)
        self._ripple = Ripple(rng, 0.012 + 0.03 * difficulty.level, 4.0)

    def paint(self, canvas: Canvas, t: float, view: View) -> None:
        """Fill the canvas."""
        w, h = canvas.size

        def displace(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            wx, wy = view.to_world(x, y)
            du, dv = self._ripple(wx, wy, t)
            return (
                (wx + du + self._half[0]) * self._density,
                (wy + dv + self._half[1]) * self._density,
            )

        map_x, map_y = dense_maps((0, 0, w, h), 16, displace)
        border = cv2.BORDER_REFLECT
        canvas.colour[:] = cv2.remap(
            self._sprite.rgba, map_x, map_y, cv2.INTER_LINEAR, borderMode=border
        )
        surface = cv2.remap(self._sprite.surface, map_x, map_y, cv2.INTER_LINEAR, borderMode=border)
        canvas.surface[:] = turn_normals(surface, view.angle)


def _sheet(rng: np.random.Generator, shape: tuple[int, int]) -> Sprite:
    h, w = shape
    kinds = [TISSUES[i] for i in rng.choice(len(TISSUES), int(rng.integers(2, 4)), replace=False)]
    regions = texture.fbm(rng, shape, rng.uniform(1.5, 3.0), 3, 0.4)
    mottle = texture.fbm(rng, shape, rng.uniform(4, 9), 5, 0.6)
    grain = texture.fbm(rng, shape, max(h, w) / 9.0, 2)
    colour = np.zeros((h, w, 3), np.float32)
    crease = np.zeros(shape, np.float32)
    softness = rng.uniform(0.02, 0.12)
    lobules = texture.cells(rng, shape, int(rng.integers(300, 900)))
    relief = 0.8 * grain + 2.0 * mottle
    for i, tissue in enumerate(kinds):
        own = texture.mix(jitter(rng, tissue.dark, 0.04), jitter(rng, tissue.light, 0.04), mottle)
        if tissue.lobules:
            own *= (0.72 + 0.4 * lobules)[..., None]
        if i == 0:
            colour = own
            continue
        edge = float(np.quantile(regions, i / len(kinds) + rng.uniform(-0.1, 0.1)))
        share = np.clip((regions - edge) / softness * 0.5 + 0.5, 0.0, 1.0)
        colour = texture.mix(colour, own, share)
        crease = np.maximum(crease, 4.0 * share * (1.0 - share))
        if tissue.lobules:
            relief = relief + 2.5 * lobules * share
    veins = texture.vessels(rng, shape, int(rng.integers(6, 20)), rng.uniform(1.5, 4.0) * w / 900)
    colour = texture.mix(colour, jitter(rng, kinds[-1].vessel, 0.03), veins * rng.uniform(0.3, 0.8))
    folds = texture.fbm(rng, shape, rng.uniform(3, 7), 3)
    folds = ((2.0 * folds - 1.0) ** 2 + 0.004) ** 0.25
    colour *= (0.72 + 0.28 * folds)[..., None] * (0.85 + 0.3 * grain)[..., None]
    colour *= (1.0 - rng.uniform(0.1, 0.4) * crease)[..., None]
    height = relief * rng.uniform(0.7, 1.5) + 9.0 * folds * w / 900 - rng.uniform(0.5, 2.0) * crease
    height += 40.0 * texture.fbm(rng, shape, 2.5, 2) * w / 900
    wet = texture.wet_patches(rng, shape)
    height += texture.fbm(rng, shape, max(h, w) / 7.0, 2) * wet * rng.uniform(1.5, 4.0)
    gloss = 0.15 + 0.45 * texture.fbm(rng, shape, 6, 3) ** 2 + 0.5 * wet
    return Sprite(texture.to_bytes(colour), texture.surface(height, 1.0, gloss))
