"""Video clips made from still images: the image moves, bends, is lit, veiled and covered.

Everything that happens in a clip follows from its seed. A clip shows one image under a moving
camera and a bending surface, often with an object of another image that moves on its own, or with
the instruments of a generated clip.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from surgsam2.data.synthetic import generate_clip
from surgsam2.data.synthetic.organs import TISSUES

Still = tuple[np.ndarray, np.ndarray]
"""(H, W, 3) uint8 RGB image and (H, W) uint8 labels, 0 for background."""

_MOST_OBJECTS = 3
_OWN = 200
"""Label of the object that moves on its own."""
_GENERATED = 100
"""Number that is added to the label of a generated instrument."""
_FIRST_GENERATED, _GENERATED_CLIPS = 3_000_000, 1_000_000
"""First seed and number of the generated clips that instruments are taken from."""
_TISSUES = frozenset(tissue.name for tissue in TISSUES)


def warped_clip(
    read: Callable[[int], Still],
    count: int,
    seed: int,
    frames: int,
    side: int,
    *,
    instruments: float = 0.0,
) -> Still:
    """Make a clip from the stills that ``read(0)`` to ``read(count - 1)`` give.

    Args:
        read: returns a still by its number.
        count: number of stills.
        seed: decides everything that is random.
        frames: number of frames T.
        side: side S of the square frames in pixels.
        instruments: probability that the instruments of a generated clip are in front.

    Returns:
        (T, S, S, 3) uint8 RGB frames and (T, S, S) uint8 labels, S = `side`.
    """
    rng = np.random.default_rng(seed)
    image, labels = _square(read(int(rng.integers(count))), side)
    labels = _some_objects(labels, rng)
    pace = float(rng.choice([0.35, 0.7, 1.0, 1.5]))
    camera, bend = _Camera(rng, frames, pace), _Bend(rng, side, pace)
    layer: _Layer | _Instruments | None
    if instruments > 0 and rng.random() < instruments:
        layer = _Instruments(rng, frames, side)
    else:
        layer = _Layer.draw(read, count, (image, labels), rng, frames, side, pace)
    away = _absence(rng, frames)
    other = _square(read(int(rng.integers(count))), side)[0] if away else image
    light = _Light(rng, side, frames)
    border = cv2.BORDER_REFLECT if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    shown, truths = [], []
    for t in range(frames):
        maps = bend.applied(camera.at(t, side), t / frames)
        if t in away:
            picture = cv2.remap(other, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            truth: np.ndarray = np.zeros((side, side), np.uint8)
        else:
            picture = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=border)
            truth = cv2.remap(labels, *maps, cv2.INTER_NEAREST, borderMode=border)
            if layer is not None:
                picture, truth = layer.over(picture, truth, t)
        shown.append(light.on(picture, t))
        truths.append(truth)
    return np.stack(shown), np.stack(truths)


def _square(still: Still, side: int) -> Still:
    image, labels = still
    size = (side, side)
    return (
        cv2.resize(image, size, interpolation=cv2.INTER_AREA),
        cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST),
    )


def _some_objects(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """At most a few of the objects, numbered from 1 on."""
    ids = np.unique(labels)
    chosen = rng.permutation(ids[ids > 0])[:_MOST_OBJECTS]
    result = np.zeros_like(labels)
    for number, label in enumerate(chosen, start=1):
        result[labels == label] = number
    return result


def _curve(rng: np.random.Generator, frames: int, amplitude: float) -> np.ndarray:
    """(T,) smooth course around 0, at 0 on average."""
    t = np.linspace(0.0, 1.0, frames)
    slow, fast = rng.uniform(0.3, 1.0), rng.uniform(1.0, 2.5)
    phases = rng.uniform(0.0, 2 * np.pi, 2)
    course = np.sin(2 * np.pi * slow * t + phases[0])
    course += 0.35 * np.sin(2 * np.pi * fast * t + phases[1])
    return amplitude * (course - course.mean())


class _Camera:
    """Position, rotation and zoom over time; inverse maps from output to image pixels."""

    def __init__(self, rng: np.random.Generator, frames: int, pace: float) -> None:
        self._x = _curve(rng, frames, 0.14 * pace * rng.uniform(0.2, 1.0))
        self._y = _curve(rng, frames, 0.14 * pace * rng.uniform(0.2, 1.0))
        self._turn = _curve(rng, frames, np.deg2rad(16 * pace) * rng.uniform(0.0, 1.0))
        self._turn += rng.uniform(-0.3, 0.3)
        self._zoom = _curve(rng, frames, 0.16 * pace * rng.uniform(0.0, 1.0))
        self._zoom += np.log(rng.uniform(1.0, 1.5))
        self._middle = rng.uniform(-0.1, 0.1, 2)

    def at(self, t: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = np.mgrid[:side, :side].astype(np.float32)
        x, y = columns / side - 0.5, rows / side - 0.5
        c, s = np.cos(self._turn[t]), np.sin(self._turn[t])
        scale = np.exp(-self._zoom[t])
        u = (c * x - s * y) * scale + 0.5 + self._x[t] + self._middle[0]
        v = (s * x + c * y) * scale + 0.5 + self._y[t] + self._middle[1]
        return (u * side).astype(np.float32), (v * side).astype(np.float32)


class _Bend:
    """A smooth displacement that swings between several shapes."""

    def __init__(self, rng: np.random.Generator, side: int, pace: float) -> None:
        strength = side * 0.035 * min(pace, 1.2) * rng.uniform(0.0, 1.0)
        grids = rng.normal(0.0, strength, (2, 2, 5, 5)).astype(np.float32)
        size = (side, side)
        self._fields = [
            [cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC) for grid in pair]
            for pair in grids
        ]
        self._rates, self._phases = rng.uniform(0.3, 1.5, 2), rng.uniform(0, 2 * np.pi, 2)

    def applied(
        self, maps: tuple[np.ndarray, np.ndarray], time: float
    ) -> tuple[np.ndarray, np.ndarray]:
        u, v = maps
        for field, rate, phase in zip(self._fields, self._rates, self._phases, strict=True):
            weight = float(np.sin(2 * np.pi * rate * time + phase))
            u, v = u + weight * field[0], v + weight * field[1]
        return u, v


class _Layer:
    """A piece of an image with a motion of its own, in front of everything.

    It is an object to follow, a cover that hides what is behind it, or a second one of the
    same look, which is not to be followed.
    """

    def __init__(self, image: np.ndarray, mask: np.ndarray, label: int, course: np.ndarray) -> None:
        self._image, self._label, self._course = image, label, course
        rows, columns = np.nonzero(mask)
        self._centre = float(columns.mean()), float(rows.mean())
        self._alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.2)

    @classmethod
    def draw(
        cls,
        read: Callable[[int], Still],
        count: int,
        base: Still,
        rng: np.random.Generator,
        frames: int,
        side: int,
        pace: float,
    ) -> _Layer | None:
        kind = rng.choice(["none", "object", "cover", "double"], p=[0.35, 0.3, 0.2, 0.15])
        image, labels = base
        if kind in ("object", "cover"):
            image, labels = _square(read(int(rng.integers(count))), side)
            labels = _some_objects(labels, rng)
        ids = [i for i in np.unique(labels) if i]
        if kind == "none" or not ids:
            return None
        mask = labels == ids[int(rng.integers(len(ids)))]
        if kind == "cover" and rng.random() < 0.5:
            mask = _bar(rng, side)
        if not 0.003 < mask.mean() < 0.35:
            return None
        course = np.column_stack([
            _curve(rng, frames, 0.25 * pace) + rng.uniform(0.2, 0.8),
            _curve(rng, frames, 0.25 * pace) + rng.uniform(0.2, 0.8),
            _curve(rng, frames, 0.4 * pace) + rng.uniform(-3.0, 3.0),
            np.exp(_curve(rng, frames, 0.15 * pace)) * rng.uniform(0.6, 1.4),
        ])  # fmt: skip
        if rng.random() < 0.3:  # it leaves
            course[:, int(rng.integers(2))] += rng.choice([-1, 1]) * np.linspace(0, 1.0, frames)
        return cls(image, mask, _OWN if kind == "object" else 0, course)

    def over(self, picture: np.ndarray, truth: np.ndarray, t: int) -> Still:
        side = len(picture)
        x, y, turn, scale = self._course[t]
        c, s = np.cos(turn) * scale, np.sin(turn) * scale
        linear = np.array([[c, -s], [s, c]])
        shift = np.array([x * side, y * side]) - linear @ np.array(self._centre)
        matrix = np.column_stack([linear, shift])
        image = cv2.warpAffine(self._image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
        alpha = cv2.warpAffine(self._alpha, matrix, (side, side))
        label = np.where(alpha > 0.5, np.uint8(self._label), truth)
        return _blended(picture, image, alpha), label


class _Instruments:
    """The instruments and loose things of a generated clip, in front of everything."""

    def __init__(self, rng: np.random.Generator, frames: int, side: int) -> None:
        seed = _FIRST_GENERATED + int(rng.integers(_GENERATED_CLIPS))
        self._stride = int(rng.integers(1, 9))
        count, level = frames * self._stride, float(rng.uniform(0.1, 0.75))
        self._clip = generate_clip(seed, count, (side, side), difficulty=level)
        names = self._clip.object_names.items()
        self._ids = [i for i, name in names if name not in _TISSUES]

    def over(self, picture: np.ndarray, truth: np.ndarray, t: int) -> Still:
        image, labels = self._clip.frame(t * self._stride)
        mask = np.isin(labels, self._ids)
        alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)
        label = (labels + _GENERATED).astype(np.uint8)
        return _blended(picture, image, alpha), np.where(mask, label, truth)


def _blended(picture: np.ndarray, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Put an image in front of a picture, as far as its (H, W) `alpha` covers it."""
    mixed = picture + alpha[..., None] * (image.astype(np.float32) - picture)
    return np.round(mixed).astype(np.uint8)


def _bar(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw a long straight shape, as of an instrument's shaft."""
    mask = np.zeros((side, side), np.uint8)
    length, width = rng.uniform(0.3, 0.9) * side, rng.uniform(0.05, 0.18) * side
    box = ((side / 2, side / 2), (length, width), float(rng.uniform(0, 180)))
    cv2.fillPoly(mask, [np.round(cv2.boxPoints(box)).astype(np.int32)], 1)
    return mask > 0


def _absence(rng: np.random.Generator, frames: int) -> range:
    """Frames that show something else, as when the camera is taken out."""
    if frames < 4 or rng.random() > 0.15:
        return range(0)
    first = int(rng.integers(1, frames - 1))
    return range(first, min(first + int(rng.integers(1, 4)), frames))


class _Light:
    """Colour, smoke, reflections, blur, noise and compression over time."""

    def __init__(self, rng: np.random.Generator, side: int, frames: int) -> None:
        self._rng = rng
        self._gain = np.exp(rng.normal(0, 0.12, 3) * 0.6 + rng.normal(0, 0.15))
        self._drift = _curve(rng, frames, 0.08 * rng.random())
        self._gamma = np.exp(rng.normal(0, 0.15))
        self._smoke = self._veil(side) * rng.uniform(0.2, 0.7) if rng.random() < 0.2 else None
        self._smoke_course = np.clip(0.5 + _curve(rng, frames, 0.5), 0, 1)
        self._spots = (
            rng.uniform(0, side, (int(rng.integers(1, 12)), 2)) if rng.random() < 0.4 else None
        )
        self._round = side * rng.uniform(0.48, 0.62) if rng.random() < 0.2 else None
        self._noise = rng.uniform(0, 6) if rng.random() < 0.4 else 0.0
        self._blur = 0.15 if rng.random() < 0.5 else 0.0

    def _veil(self, side: int) -> np.ndarray:
        coarse = self._rng.random((6, 6)).astype(np.float32)
        return np.clip(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)

    def on(self, picture: np.ndarray, t: int) -> np.ndarray:
        rng, side = self._rng, len(picture)
        x = (picture.astype(np.float32) / 255) ** self._gamma * (self._gain * (1 + self._drift[t]))
        if self._smoke is not None:
            veil = (self._smoke * self._smoke_course[t])[..., None]
            x = x * (1 - veil) + 0.8 * veil
        if self._spots is not None:
            glow = np.zeros((side, side), np.float32)
            for spot in self._spots:
                if rng.random() < 0.8:
                    place = np.round(spot + rng.normal(0, 2, 2)).astype(int)
                    axes = tuple(int(v) for v in rng.integers(2, 9, 2))
                    centre = (int(place[0]), int(place[1]))
                    cv2.ellipse(glow, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
            x = np.maximum(x, cv2.GaussianBlur(glow, (0, 0), 1.5)[..., None])
        if self._round is not None:
            rows, columns = np.ogrid[:side, :side]
            outside = np.hypot(rows - side / 2, columns - side / 2) > self._round
            x[outside] = 0
        if rng.random() < self._blur:
            x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.8, 3.0)))
        if self._noise:
            x = x + rng.normal(0, self._noise / 255, x.shape)
        return np.asarray(np.clip(np.round(x * 255), 0, 255), np.uint8)
