"""Instruments: a shaft from a trocar outside the picture, a wrist, and jaws or a tip.

Each part is a flat sprite with the normals of a round or bevelled metal body, placed
by the instrument's joints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from surgsam2.data.synthetic import texture
from surgsam2.data.synthetic.camera import View
from surgsam2.data.synthetic.motion import ALWAYS, Path, Presence, Wave
from surgsam2.data.synthetic.raster import Fragment, Sprite, merge, place_quad

KINDS = (
    "grasper", "dissector", "scissors", "needle driver", "clip applier", "hook",
    "suction", "stapler", "probe",
)  # fmt: skip
_SINGLE = ("hook", "suction", "probe")
"""Kinds that have one tip instead of two jaws."""
SHAFT_COLOURS = (
    (34, 34, 38), (48, 50, 54), (120, 122, 126), (168, 170, 174), (206, 206, 202),
    (46, 64, 110), (70, 96, 92), (150, 130, 92),
)  # fmt: skip
"""Colours of shafts, RGB from 0 to 255."""
_JAW_PIXELS = 96
"""Length of a jaw's sprite in pixels when the short side of the image has 512 pixels."""


@dataclass(frozen=True, eq=False)
class Style:
    """Appearance and proportions of an instrument; two instruments of one style look alike."""

    kind: str
    width: float
    """Width of the shaft at the wrist, in world units (see `camera.View`)."""
    jaw_length: float
    """Length of a jaw in shaft widths."""
    jaw_width: float
    """Width of a jaw in shaft widths."""
    wrist_length: float
    """Length of the wrist in shaft widths."""
    shaft: Sprite
    wrist: Sprite
    jaws: tuple[Sprite, ...]
    """Sprites of the two jaws, or of the single tip."""
    bends: float
    """Largest angle of the wrist in radians; 0 for a straight instrument."""
    opens: float
    """Largest angle between the jaws in radians."""


def _metal(rng: np.random.Generator, alpha: np.ndarray, colour: np.ndarray) -> Sprite:
    """Draw a bevelled metal plate of the shape `alpha`, (h, w) uint8."""
    h, w = alpha.shape
    distance = cv2.distanceTransform((alpha > 100).astype(np.uint8), cv2.DIST_L2, 5)
    bevel = np.clip(distance / max(0.55 * float(distance.max()), 1.0), 0, 1)
    height = np.sqrt(1 - (1 - bevel) ** 2).astype(np.float32)
    scratches = cv2.resize(rng.random((max(h // 2, 2), 4), dtype=np.float32), (w, h))
    sheen = texture.fbm(rng, (h, w), 3, 2)
    values = colour * (0.62 + 0.25 * height + 0.18 * scratches + 0.3 * (sheen - 0.5))[..., None]
    return Sprite(
        np.dstack([texture.to_bytes(values), alpha]),
        texture.surface(height + 0.06 * scratches, 0.22 * h, rng.uniform(0.75, 1.0)),
    )


def _shaft(rng: np.random.Generator, resolution: float, colour: np.ndarray) -> Sprite:
    """Draw a cylinder from its far end (left) to its wrist (right), sometimes with bands."""
    w, h = max(int(420 * resolution), 24), max(int(44 * resolution), 6)
    v = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
    across = np.sqrt(np.clip(1 - (v * 0.97) ** 2, 0, 1))
    streak = np.exp(-(((v - rng.uniform(-0.5, 0.5)) / rng.uniform(0.08, 0.3)) ** 2))
    scratch = cv2.resize(rng.random((h, 6), dtype=np.float32), (w, h))
    shade = 0.45 + 0.5 * across + 0.35 * streak + 0.12 * (scratch - 0.5)
    values = np.repeat(colour[None, None, :], w, axis=1) * shade[..., None]
    x = np.linspace(0, 1, w)
    for _ in range(int(rng.integers(0, 4))):
        at, width = rng.uniform(0.55, 0.97), rng.uniform(0.008, 0.05)
        band = (np.abs(x - at) < width)[None, :, None]
        tone = np.float32(rng.choice([25.0, 190.0])) * shade[..., None] * np.ones(3, np.float32)
        values = np.where(band, tone, values)
    metal = float(colour.mean()) > 100
    surface = np.empty((h, w, 3), np.uint8)
    surface[..., 0] = texture.NORMAL_ZERO
    surface[..., 1] = texture.to_bytes(texture.NORMAL_ZERO + 122 * v * np.ones((1, w)))
    surface[..., 2] = int(255 * rng.uniform(0.6, 0.95) * (1.0 if metal else 0.55))
    alpha = np.full((h, w), 255, np.uint8)
    return Sprite(np.dstack([texture.to_bytes(values), alpha]), surface)


def _profile(kind: str, x: np.ndarray, curve: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the two edges of a jaw, the one with the smaller y in the sprite first.

    Args:
        kind: one of `KINDS`.
        x: (N,) positions along the jaw, from 0 at the hinge to 1 at the tip.
        curve: how far the middle line bends sideways, in units of the edges.

    Returns:
        (N,) positions of both edges across the jaw, about -0.5 to 0.5.
    """
    centre = curve * x**2 - curve * 0.4
    tip = np.sqrt(np.clip(1 - x**6, 0, 1))
    if kind == "dissector":
        half = 0.26 * (1 - 0.72 * x) * tip
    elif kind == "scissors":
        half = 0.2 * (1 - 0.9 * x)
    elif kind == "needle driver":
        half = 0.38 * (1 - 0.35 * x) * tip
    elif kind == "clip applier":
        half = (0.2 + 0.14 * (x > 0.3)) * tip
    elif kind == "stapler":
        half = 0.45 * np.sqrt(np.clip(1 - x**14, 0, 1))
    elif kind in ("suction", "probe"):
        half = 0.36 * np.sqrt(np.clip(1 - x ** (20 if kind == "suction" else 8), 0, 1))
    else:
        half = 0.33 * (1 - 0.3 * x) * tip
    return centre - half, centre + half


def _jaw(rng: np.random.Generator, kind: str, resolution: float, colour: np.ndarray) -> Sprite:
    """Draw a jaw or tip from its hinge (left) to its end (right)."""
    w, h = max(int(_JAW_PIXELS * resolution), 10), max(int(0.5 * _JAW_PIXELS * resolution), 6)
    alpha = np.zeros((h, w), np.uint8)

    def pixels(points: np.ndarray) -> np.ndarray:
        scaled = (points * (1.0, 0.9) + (0.0, 0.5)) * (w - 2, h - 1)
        return np.round(scaled * 16).astype(np.int32)

    x = np.linspace(0, 1, 40)
    if kind == "hook":
        outline = np.array(
            [[0, -0.14], [0.82, -0.14], [1, -0.05], [1, 0.5], [0.86, 0.5], [0.84, 0.1], [0, 0.12]]
        )
    else:
        low, high = _profile(kind, x, 0.0 if kind in _SINGLE else rng.uniform(-0.25, 0.25))
        outline = np.concatenate([np.stack([x, low], 1), np.stack([x, high], 1)[::-1]])
    cv2.fillPoly(alpha, [pixels(np.clip(outline, (0, -0.54), (1, 0.54)))], 255, cv2.LINE_AA, 4)
    sprite = _metal(rng, alpha, colour)
    rgba = sprite.rgba.copy()
    if kind in ("grasper", "needle driver", "stapler", "dissector"):
        # Teeth are drawn along the edge with the smaller y.
        teeth = (np.sin(np.linspace(0, rng.uniform(40, 90), w)) > 0).astype(np.float32)
        band = np.zeros((h, w), np.float32)
        band[: max(h // 3, 1)] = teeth
        rgba[..., :3] = (rgba[..., :3] * (1 - 0.45 * band)[..., None]).astype(np.uint8)
    if kind == "suction" or (kind == "grasper" and rng.random() < 0.6):
        # The scene is visible through a fenestrated jaw; the hole of a suction tip is dark.
        for at in (0.38, 0.68) if kind == "grasper" else (0.55, 0.75):
            middle, radii = (int(at * w), h // 2), (max(int(0.1 * w), 1), max(int(0.12 * h), 1))
            if kind == "grasper":
                hole = np.zeros((h, w), np.uint8)
                cv2.ellipse(hole, middle, radii, 0, 0, 360, 255, -1, cv2.LINE_AA)
                rgba[..., 3] = cv2.subtract(np.ascontiguousarray(rgba[..., 3]), hole)
            else:
                cv2.circle(rgba, middle, radii[1], (15, 12, 12, 255), -1, cv2.LINE_AA)
    return Sprite(rgba, sprite.surface)


def _wrist(rng: np.random.Generator, resolution: float, colour: np.ndarray) -> Sprite:
    """Draw a wrist from the shaft (left) to the hinge of the jaws (right)."""
    w, h = max(int(64 * resolution), 8), max(int(44 * resolution), 6)
    alpha = np.zeros((h, w), np.uint8)
    taper = rng.uniform(0.55, 1.0)
    outline = np.array(
        [[0, 0], [0.6, 0.02], [1, 0.5 - 0.5 * taper], [1, 0.5 + 0.5 * taper], [0.6, 0.98], [0, 1]]
    )
    pixels = np.round(outline * (w - 1, h - 1) * 16).astype(np.int32)
    cv2.fillPoly(alpha, [pixels], 255, cv2.LINE_AA, 4)
    sprite = _metal(rng, alpha, colour)
    rgba = sprite.rgba.copy()
    dark = tuple(int(v) for v in colour * 0.3)
    cv2.circle(rgba, (int(0.72 * w), h // 2), max(h // 7, 1), (*dark, 255), -1, cv2.LINE_AA)
    if rng.random() < 0.5:
        top, bottom = (int(0.3 * w), int(0.2 * h)), (int(0.36 * w), int(0.8 * h))
        cv2.rectangle(rgba, top, bottom, (*dark, 255), -1)
    return Sprite(rgba, sprite.surface)


def make_style(rng: np.random.Generator, resolution: float, kind: str | None = None) -> Style:
    """Draw a random instrument design.

    Args:
        rng: the source of randomness.
        resolution: short side of the image in pixels, divided by 512.
        kind: one of `KINDS`; None chooses one at random.
    """
    resolution = float(np.clip(resolution, 0.2, 2.0))
    kind = kind or str(rng.choice(KINDS))
    tone = np.array(SHAFT_COLOURS[int(rng.integers(len(SHAFT_COLOURS)))], np.float32)
    if rng.random() < 0.12:
        tone = rng.uniform(30, 220, 3).astype(np.float32)
    metal = np.full(3, rng.uniform(130, 205), np.float32) + rng.normal(0, 6, 3).astype(np.float32)
    jaw = _jaw(rng, kind, resolution, metal)
    jaws: tuple[Sprite, ...] = (jaw,)
    if kind not in _SINGLE:
        flipped = jaw.surface[::-1].copy()
        flipped[..., 1] = np.minimum(2 * texture.NORMAL_ZERO - flipped[..., 1].astype(int), 255)
        jaws = (jaw, Sprite(jaw.rgba[::-1].copy(), flipped))
    return Style(
        kind=kind,
        width=rng.uniform(0.05, 0.1),
        jaw_length=rng.uniform(1.5, 3.0) * (1.5 if kind == "stapler" else 1.0),
        jaw_width=rng.uniform(0.75, 1.15),
        wrist_length=rng.uniform(0.7, 1.6),
        shaft=_shaft(rng, resolution, tone),
        wrist=_wrist(rng, resolution, metal * rng.uniform(0.7, 1.0)),
        jaws=jaws,
        bends=0.0 if rng.random() < 0.35 else rng.uniform(0.4, 1.1),
        opens=rng.uniform(0.4, 1.1),
    )


@dataclass(eq=False)
class Instrument:
    """An instrument in a scene; lengths are in world units (see `camera.View`)."""

    style: Style
    trocar: np.ndarray
    """Point outside the picture from which the instrument comes: (2,)."""
    path: Path
    """Position of the wrist while the instrument is present."""
    bend: Wave
    """Angle of the wrist over time, as a share (-1 to 1) of `Style.bends`."""
    open: Wave
    """Opening of the jaws over time: at -1 and below they are closed, at 1 and above fully open."""
    presence: Presence = ALWAYS
    depth: float = 0.15
    """Nearness to the camera; nearer things move more when the camera moves."""
    height: float = 2.0
    """Order of painting; a higher layer is nearer to the camera."""
    film: bool = False
    """Whether the layer only tints what is below it; never so for an instrument."""
    object_id: int = 0
    """Id in the labels; 0 for an instrument without label."""
    _path_scale: float = 1.0

    def anchor(self, t: float) -> np.ndarray:
        """Return the (2,) world position of the wrist at time `t`."""
        inside = self.path(t) * self._path_scale
        return np.asarray(self.trocar + (inside - self.trocar) * self.presence(t))

    def centre_in(self, part: float) -> None:
        """Scale the path's distance from the middle of the scene by `part`, from 0 to 1."""
        self._path_scale *= part

    def fragments(self, t: float, view: View, size: tuple[int, int]) -> Iterable[Fragment]:
        """Yield the whole instrument as one fragment if it is in the image."""
        style = self.style
        if self.presence(t) <= 0.0:
            return
        joint = self.anchor(t)
        axis = joint - self.trocar
        if float(np.hypot(*axis)) < 1e-3:
            axis = -self.trocar
        axis = axis / np.hypot(*axis)
        parts: list[Fragment | None] = []
        width = style.width
        heading = float(np.arctan2(axis[1], axis[0]))
        bent = heading + style.bends * float(self.bend(t)[0])
        hinge = joint + style.wrist_length * width * np.array([np.cos(bent), np.sin(bent)])
        opening = style.opens * float(np.clip(0.5 + 0.5 * self.open(t)[0], 0.0, 1.0))
        start = hinge - 0.15 * width * np.array([np.cos(bent), np.sin(bent)])
        jaw_size = (style.jaw_length * width, style.jaw_width * width)
        angles = (bent,) if len(style.jaws) == 1 else (bent - opening / 2, bent + opening / 2)
        for jaw, angle in zip(style.jaws, angles, strict=True):
            quad = _strip(start, angle, jaw_size[0], jaw_size[1], jaw_size[1])
            parts.append(place_quad(jaw, view.to_image(quad, self.depth), size))
        quad = _strip(joint, bent, style.wrist_length * width, width * 0.92, width * 0.8)
        parts.append(place_quad(style.wrist, view.to_image(quad, self.depth), size))
        # The shaft is long enough to start outside the picture wherever the wrist is.
        length = max(1.9, float(np.hypot(*self.trocar)) + 0.4)
        far = joint - length * axis
        overlap = 0.3 * width
        quad = _strip(far, heading, length + overlap, width * 1.9, width)
        parts.append(place_quad(style.shaft, view.to_image(quad, self.depth), size))
        whole = merge([p for p in parts if p is not None])
        if whole is not None:
            yield whole


def _strip(
    start: np.ndarray, angle: float, length: float, first_width: float, last_width: float
) -> np.ndarray:
    """Return the corners of a tapered strip in the order that `place_quad` takes.

    Args:
        start: (2,) the middle of the first edge, in world units.
        angle: direction of the strip in radians, from x towards y.
        length: length of the strip.
        first_width: length of the first edge.
        last_width: length of the last edge.

    Returns:
        (4, 2) corners in world units.
    """
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    end = start + along * length
    return np.array(
        [
            start - across * first_width / 2,
            end - across * last_width / 2,
            end + across * last_width / 2,
            start + across * first_width / 2,
        ]
    )
