"""Soft bodies: organs, blood films, and random objects of any shape and texture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from surgsam2.data.synthetic import texture
from surgsam2.data.synthetic.camera import View
from surgsam2.data.synthetic.motion import ALWAYS, FULL_SIZE, Presence
from surgsam2.data.synthetic.raster import Fragment, Sprite, clip_box, place_warped

Motion = Callable[[float], np.ndarray]
"""A function of time in frames, such as `motion.Wave`."""
GRID_STEP = 12
"""Pixels between the points at which a deformation is computed."""


@dataclass(frozen=True)
class Tissue:
    """Appearance of an organ; colours are RGB in white light."""

    name: str
    light: tuple[int, int, int]
    dark: tuple[int, int, int]
    vessel: tuple[int, int, int]
    vessels: int
    gloss: float
    lobules: bool = False


TISSUES = (
    Tissue("liver", (128, 44, 38), (84, 24, 28), (150, 62, 52), 2, 0.55),
    Tissue("gallbladder", (222, 194, 130), (178, 156, 118), (172, 62, 62), 9, 0.7),
    Tissue("bowel", (220, 140, 124), (192, 104, 98), (160, 44, 52), 10, 0.7),
    Tissue("fat", (230, 184, 92), (206, 138, 66), (186, 66, 50), 6, 0.6, lobules=True),
    Tissue("kidney", (148, 58, 50), (98, 36, 38), (176, 84, 72), 3, 0.6),
    Tissue("spleen", (112, 52, 74), (76, 32, 54), (140, 74, 92), 2, 0.6),
    Tissue("stomach", (222, 168, 148), (192, 128, 118), (168, 60, 64), 8, 0.65),
    Tissue("ovary", (232, 208, 196), (200, 166, 158), (186, 80, 86), 6, 0.75),
    Tissue("uterus", (214, 128, 118), (182, 92, 90), (160, 50, 60), 7, 0.7),
    Tissue("muscle", (176, 74, 62), (140, 48, 46), (210, 130, 112), 3, 0.45),
    Tissue("omentum", (226, 160, 98), (198, 112, 82), (170, 50, 44), 12, 0.6, lobules=True),
)


def jitter(rng: np.random.Generator, colour: tuple[int, int, int], amount: float) -> np.ndarray:
    """Return the (3,) float32 colour with hue, saturation and lightness changed at random."""
    pixel = np.array([[colour]], np.uint8)
    hue, light, saturation = cv2.cvtColor(pixel, cv2.COLOR_RGB2HLS)[0, 0].astype(float)
    changed = [
        (hue + rng.normal(0, 60 * amount)) % 180,
        np.clip(light + rng.normal(0, 120 * amount), 12, 235),
        np.clip(saturation * rng.uniform(1 - 3 * amount, 1 + 2 * amount), 0, 255),
    ]
    pixel = np.array([[changed]], np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HLS2RGB)[0, 0].astype(np.float32)


# --- shapes: (n, n) uint8 coverage on a square of -1..1 ----------------------------------


def _fill(points: np.ndarray, n: int) -> np.ndarray:
    image = np.zeros((n, n), np.uint8)
    pixels = np.round((points * 0.5 + 0.5) * (n - 1) * 16).astype(np.int32)
    cv2.fillPoly(image, [pixels], 255, cv2.LINE_AA, shift=4)
    return image


def _polar(radius: np.ndarray, squeeze: float) -> np.ndarray:
    phi = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    points = np.stack([radius * np.cos(phi), squeeze * radius * np.sin(phi)], axis=1)
    return np.asarray(points * (0.8 / np.abs(points).max()))


def _wobble(rng: np.random.Generator, amount: float, harmonics: int = 5) -> np.ndarray:
    phi = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    k = np.arange(2, 2 + harmonics)[:, None]
    waves = np.cos(k * phi + rng.uniform(0, 2 * np.pi, k.shape)) / k
    return np.asarray(1.0 + amount * (rng.normal(0, 1, k.shape) * waves).sum(axis=0))


def blob_shape(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw a rounded lump."""
    return _fill(_polar(_wobble(rng, 0.35), rng.uniform(0.5, 1.0)), n)


def pear_shape(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw a pear or a bean: narrow at one end, possibly bent."""
    s = np.linspace(0, 1, 60)
    width = np.sqrt(np.clip(s * (1 - s), 0, None)) * (0.45 + rng.uniform(0.2, 0.9) * s)
    width *= rng.uniform(0.8, 1.2)
    bend = rng.uniform(-0.7, 0.7) * (s - 0.5) ** 2
    x, y = 1.6 * s - 0.8, bend - bend.mean()
    outline = np.concatenate([np.stack([x, y - width], 1), np.stack([x, y + width], 1)[::-1]])
    return _fill(outline * min(1.0, 0.8 / np.abs(outline).max()), n)


def tube_shape(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw a bent tube, such as bowel, a catheter or a vessel loop."""
    thickness = rng.uniform(0.15, 0.45)
    turns = np.cumsum(rng.normal(0, 0.25, 30)) + rng.uniform(-0.1, 0.1) * np.arange(30)
    points = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0)
    points -= (points.max(axis=0) + points.min(axis=0)) / 2
    points *= (0.8 - thickness / 2) / np.abs(points).max()
    image = np.zeros((n, n), np.uint8)
    pixels = np.round((points * 0.5 + 0.5) * (n - 1) * 16).astype(np.int32)
    width = max(2, int(thickness * n / 2))
    cv2.polylines(image, [pixels], False, 255, width, cv2.LINE_AA, shift=4)
    return image


def lobed_shape(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw several overlapping lumps."""
    image = np.zeros((n, n), np.uint8)
    centre = np.zeros(2)
    for _ in range(int(rng.integers(3, 6))):
        radius = rng.uniform(0.2, 0.38)
        at = np.clip(centre + rng.normal(0, 0.25, 2), -0.8 + radius, 0.8 - radius)
        middle = tuple(int(v) for v in np.round((at * 0.5 + 0.5) * n * 16))
        cv2.circle(image, middle, int(radius * n / 2 * 16), 255, -1, cv2.LINE_AA, shift=4)
        centre = at
    return image


def polygon_shape(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw a polygon with corners, convex or a star."""
    corners = int(rng.integers(3, 9))
    radius = rng.uniform(0.55, 1.0, corners)
    if rng.random() < 0.4:
        radius = np.tile([1.0, rng.uniform(0.35, 0.6)], corners)
    return _fill(_polar(radius, rng.uniform(0.5, 1.0)), n)


def ring_shape(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw a ring; its hole does not belong to the object."""
    image = blob_shape(rng, n)
    distance = cv2.distanceTransform((image > 127).astype(np.uint8), cv2.DIST_L2, 5)
    inside = distance - rng.uniform(0.35, 0.6) * float(distance.max())
    hole = np.clip(inside + 0.5, 0, 1) * 255
    return cv2.subtract(image, hole.astype(np.uint8))


def rod_shape(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw a straight bar with more or less round ends."""
    half = rng.uniform(0.12, 0.3)
    power = rng.uniform(2.0, 8.0)
    phi = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    c, s = np.cos(phi), np.sin(phi)
    x = 0.8 * np.sign(c) * np.abs(c) ** (2 / power)
    y = half * np.sign(s) * np.abs(s) ** (2 / power)
    return _fill(np.stack([x, y], axis=1), n)


def splash_shape(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw a pool with droplets around it."""
    image = _fill(_polar(_wobble(rng, 0.8, 9), rng.uniform(0.5, 1.0)) * 0.75, n)
    for _ in range(int(rng.integers(4, 12))):
        at = tuple(int(v) for v in rng.uniform(0.12, 0.88, 2) * n * 16)
        cv2.circle(image, at, int(rng.uniform(0.01, 0.05) * n * 16), 255, -1, cv2.LINE_AA, shift=4)
    return image


ORGAN_SHAPES = (blob_shape, pear_shape, tube_shape, lobed_shape)
THING_SHAPES = (
    blob_shape, polygon_shape, ring_shape, rod_shape, tube_shape, pear_shape, lobed_shape,
)  # fmt: skip


# --- textures of the shapes ---------------------------------------------------------------


def _dome(alpha: np.ndarray, roundness: float) -> np.ndarray:
    """Return the height (0 to 1) of a body that bulges towards its middle."""
    distance = cv2.distanceTransform((alpha > 100).astype(np.uint8), cv2.DIST_L2, 5)
    reach = max(float(distance.max()) * roundness, 1.0)
    rise = 1.0 - np.clip(distance / reach, 0, 1)
    dome = np.sqrt(1.0 - rise * rise).astype(np.float32)
    blur = max(int(alpha.shape[0] * 0.02), 1) | 1
    return cv2.GaussianBlur(dome, (blur, blur), 0)


def tissue_sprite(rng: np.random.Generator, alpha: np.ndarray, tissue: Tissue) -> Sprite:
    """Draw an organ: mottled, veined, wet, and darker towards its rim."""
    n = alpha.shape[0]
    shape = (n, n)
    light, dark = jitter(rng, tissue.light, 0.045), jitter(rng, tissue.dark, 0.045)
    mottle = texture.fbm(rng, shape, rng.uniform(2, 5), 5, 0.6)
    colour = texture.mix(dark, light, mottle)
    grain = texture.fbm(rng, shape, n / 9.0, 2)
    colour *= (0.86 + 0.28 * grain)[..., None]
    relief = 0.6 * grain + 1.5 * mottle
    if tissue.lobules:
        bumps = texture.cells(rng, shape, int(rng.integers(40, 160)))
        colour *= (0.72 + 0.4 * bumps)[..., None]
        relief = relief + 2.5 * bumps
    count = int(rng.integers(0, tissue.vessels + 3))
    if count:
        veins = texture.vessels(rng, shape, count, rng.uniform(1.2, 3.4) * n / 320.0)
        tint = jitter(rng, tissue.vessel, 0.03)
        colour = texture.mix(colour, tint, veins * rng.uniform(0.4, 0.85))
        relief = relief + 0.6 * veins
    dome = _dome(alpha, rng.uniform(0.5, 1.0))
    colour *= (0.6 + 0.4 * np.sqrt(dome))[..., None]
    height = dome * n * rng.uniform(0.08, 0.2) + relief * rng.uniform(0.6, 1.6)
    wet = texture.wet_patches(rng, shape)
    height += texture.fbm(rng, shape, n / 6.0, 2) * wet * rng.uniform(0.0, 3.0)
    gloss = tissue.gloss * (0.4 + 0.5 * texture.fbm(rng, shape, 6, 3)) + 0.4 * wet
    rgba = np.dstack([texture.to_bytes(colour), alpha])
    return Sprite(rgba, texture.surface(height, 1.0, gloss))


def toned(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    """Return the sprite with one end paler, darker or of another tint."""
    n = sprite.rgba.shape[0]
    across = np.linspace(-1, 1, n, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * across[None, :] + np.sin(angle) * across[:, None]
    along = along + rng.uniform(0.1, 0.5) * (texture.fbm(rng, (n, n), 3, 3) - 0.5)
    width = rng.uniform(0.05, 0.5)
    part = 1.0 / (1.0 + np.exp(-(along - rng.uniform(-0.4, 0.4)) / width))
    colour = sprite.rgba[..., :3].astype(np.float32)
    grey = colour.mean(axis=2, keepdims=True)
    other = grey + (colour - grey) * rng.uniform(0.2, 1.2)
    other = other * rng.uniform(0.6, 1.4) * rng.uniform(0.92, 1.08, 3)
    changed = texture.mix(colour, other.astype(np.float32), part.astype(np.float32))
    return Sprite(np.dstack([texture.to_bytes(changed), sprite.rgba[..., 3]]), sprite.surface)


def thing_sprite(rng: np.random.Generator, alpha: np.ndarray) -> Sprite:
    """Draw an arbitrary object: two random colours in a random pattern, flat or bulging."""
    shape = alpha.shape
    base = (int(rng.integers(256)), int(rng.integers(256)), int(rng.integers(256)))
    first = jitter(rng, base, 0.05)
    contrast = 0.08 if rng.random() < 0.45 else 0.5
    second = jitter(rng, base, contrast)
    if rng.random() < 0.6:
        values = texture.pattern(rng, (shape[0], shape[1]))
    else:
        values = texture.fbm(rng, (shape[0], shape[1]), rng.uniform(2, 12), 4)
    grain = texture.fbm(rng, (shape[0], shape[1]), shape[0] / 8.0, 2)
    dome = _dome(alpha, rng.uniform(0.3, 1.0))
    colour = texture.mix(first, second, values) * (0.85 + 0.3 * grain)[..., None]
    colour *= (0.6 + 0.4 * dome)[..., None]
    height = dome * shape[0] * rng.uniform(0.02, 0.15) + values * rng.uniform(0, 2) + 0.5 * grain
    return Sprite(
        np.dstack([texture.to_bytes(colour), alpha]),
        texture.surface(height, 1.0, rng.uniform(0.05, 0.9)),
    )


def blood_sprite(rng: np.random.Generator, alpha: np.ndarray) -> Sprite:
    """Draw a translucent film of blood."""
    n = alpha.shape[0]
    tint = jitter(rng, (120, 10, 12), 0.02)
    thin = texture.fbm(rng, (n, n), 5, 3)
    colour = tint * (0.6 + 0.4 * thin)[..., None]
    cover = alpha * (0.35 + 0.35 * thin)
    height = _dome(alpha, 0.3) * n * 0.03 + thin
    return Sprite(
        np.dstack([texture.to_bytes(colour), texture.to_bytes(cover)]),
        texture.surface(height, 1.0, 0.3),
    )


# --- bodies ------------------------------------------------------------------------------


@dataclass(eq=False)
class SoftBody:
    """A sprite that moves, turns, stretches and ripples.

    Lengths are in world units (see `camera.View`), angles in radians.
    """

    sprite: Sprite
    home: np.ndarray
    """Position at rest: (2,)."""
    radius: float
    """Half of the side of the sprite's square."""
    angle: float
    """Rotation at rest."""
    sway: Motion
    """Displacement from `home`: (2,)."""
    turn: Motion
    """Rotation from `angle`: (1,)."""
    squash: Motion
    """Logarithm of the stretch along the sprite's x; y is compressed as much: (1,)."""
    ripple: Ripple
    """Deformation, in units of `radius`."""
    presence: Presence = ALWAYS
    exit: np.ndarray = field(default_factory=lambda: np.zeros(2))
    """Displacement from `home` while the body is out of the scene: (2,)."""
    grow: Callable[[float], float] = FULL_SIZE
    """Factor on `radius` by time."""
    depth: float = 0.0
    """Nearness to the camera; nearer things move more when the camera moves."""
    height: float = 0.0
    """Order of painting; a higher body is nearer to the camera."""
    film: bool = False
    """Whether the body only tints what is below it and has no label."""
    object_id: int = 0
    """Id in the labels; 0 for a body without label."""
    neighbour: SoftBody | None = None
    """Another body that touches this one and moves with it."""

    def __post_init__(self) -> None:
        alpha = self.sprite.rgba[..., 3]
        n = alpha.shape[0] - 1
        x, y, w, h = cv2.boundingRect((alpha > 0).astype(np.uint8))
        margin = self.ripple.amount
        low = np.array([x, y]) / n * 2 - 1 - margin
        high = np.array([x + w, y + h]) / n * 2 - 1 + margin
        self._corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])

    def anchor(self, t: float) -> np.ndarray:
        """Return the (2,) world position at time `t`."""
        away = 1.0 - self.presence(t)
        return np.asarray(self.home + self.sway(t) + self.exit * away)

    def centre_in(self, part: float) -> None:
        """Scale the body's distance from the middle of the scene by `part`, from 0 to 1."""
        if self.neighbour is not None:
            self.neighbour.home = self.neighbour.home + self.home * (part - 1)
        self.home = self.home * part

    def fragments(self, t: float, view: View, size: tuple[int, int]) -> Iterable[Fragment]:
        """Yield the body as a fragment of the image, if it is in the image."""
        if self.presence(t) <= 0.0 or self.grow(t) <= 0.01:
            return
        angle = self.angle + float(self.turn(t)[0])
        squash = float(np.exp(self.squash(t)[0]))
        radius = self.radius * self.grow(t)
        c, s = np.cos(angle), np.sin(angle)
        stretch = np.array([squash, 1.0 / squash]) * radius
        position = self.anchor(t)
        corners = self._corners * stretch @ np.array([[c, s], [-s, c]]) + position
        pixels = view.to_image(corners, self.depth)
        box = clip_box(pixels.min(axis=0), pixels.max(axis=0), size)
        if box is None:
            return
        n = self.sprite.rgba.shape[0]

        def displace(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            wx, wy = view.to_world(x, y, self.depth)
            wx, wy = wx - position[0], wy - position[1]
            u = (c * wx + s * wy) / stretch[0]
            v = (-s * wx + c * wy) / stretch[1]
            du, dv = self.ripple(u, v, t)
            return ((u + du) * 0.5 + 0.5) * (n - 1), ((v + dv) * 0.5 + 0.5) * (n - 1)

        yield place_warped(self.sprite, box, GRID_STEP, displace, angle + view.angle)


class Ripple:
    """A smooth displacement that changes in time, as by breathing, pulse or traction.

    Displacements stay within `amount`, in the same units as the coordinates.
    """

    def __init__(self, rng: np.random.Generator, amount: float, waves: float = 2.0) -> None:
        self.amount = amount
        self._k = rng.normal(0.0, waves, (3, 2))
        self._speed = 2 * np.pi / rng.uniform(14, 50, 3)
        self._phase = rng.uniform(0, 2 * np.pi, 3)
        direction = rng.normal(0.0, 1.0, (3, 2))
        share = np.array([0.5, 0.3, 0.2])[:, None]
        self._vector = direction / np.linalg.norm(direction, axis=1, keepdims=True) * share
        self._vector *= amount

    def __call__(self, u: np.ndarray, v: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the displacements at the points (`u`, `v`) and time `t`."""
        du, dv = np.zeros_like(u), np.zeros_like(v)
        for k, speed, phase, vector in zip(
            self._k, self._speed, self._phase, self._vector, strict=True
        ):
            wave = np.sin(k[0] * u + k[1] * v + speed * t + phase)
            du += vector[0] * wave
            dv += vector[1] * wave
        return du, dv
