"""Procedural textures: noise, cells, vessels, patterns, and normals from heights.

Textures are made once per clip; a texture is float32 in 0..1, shape (h, w), unless
its function says otherwise.
"""

from __future__ import annotations

import cv2
import numpy as np

NORMAL_ZERO = 128
"""Surface maps store the normal's x and y as ``128 + 127 * component`` in uint8."""


def fbm(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cells: float,
    octaves: int = 4,
    gain: float = 0.5,
) -> np.ndarray:
    """Return fractal noise from 0 to 1; `cells` is the number of coarsest bumps across."""
    h, w = shape
    total = np.zeros((h, w), np.float32)
    weight = 1.0
    for octave in range(octaves):
        n = cells * 2**octave
        rows = min(max(round(n * h / max(h, w)) + 3, 4), h + 3)
        cols = min(max(round(n * w / max(h, w)) + 3, 4), w + 3)
        grid = rng.random((rows, cols), dtype=np.float32)
        total += weight * cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
        weight *= gain
    return stretch(total)


def stretch(values: np.ndarray) -> np.ndarray:
    """Scale values linearly to 0 to 1."""
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / max(high - low, 1e-6), dtype=np.float32)


def cells(rng: np.random.Generator, shape: tuple[int, int], count: int) -> np.ndarray:
    """Draw rounded cells, as of fat lobules: 1 in the middle of a cell and 0 at its border."""
    h, w = shape
    scale = 2 if min(h, w) >= 64 else 1
    small = (max(h // scale, 8), max(w // scale, 8))
    seeds = np.full(small, 255, np.uint8)
    seeds[rng.integers(0, small[0], count), rng.integers(0, small[1], count)] = 0
    distance = cv2.distanceTransform(seeds, cv2.DIST_L2, 5)
    reach = float(np.sqrt(small[0] * small[1] / count)) * 0.75
    bump = np.clip(1.0 - distance / reach, 0.0, 1.0).astype(np.float32)
    return cv2.resize(np.sqrt(bump), (w, h), interpolation=cv2.INTER_LINEAR)


def vessels(
    rng: np.random.Generator, shape: tuple[int, int], count: int, thickness: float
) -> np.ndarray:
    """Draw branching vessels: 1 on an axis, 0 elsewhere; `thickness` is in pixels at the root."""
    h, w = shape
    drawing = np.zeros((h, w), np.uint8)
    step = max(h, w) / 40.0
    pending = [
        (rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0, 2 * np.pi), thickness, 24)
        for _ in range(count)
    ]
    drawn = 0
    while pending and drawn < 14 * count:
        x, y, heading, width, length = pending.pop()
        drawn += 1
        turns = np.cumsum(rng.normal(0.0, 0.28, length)) + heading
        xs = x + np.cumsum(np.cos(turns)) * step
        ys = y + np.cumsum(np.sin(turns)) * step
        points = np.stack([np.append(x, xs), np.append(y, ys)], axis=1)
        line = np.round(points * 16).astype(np.int32)
        strength = int(255 * rng.uniform(0.55, 1.0))
        cv2.polylines(drawing, [line], False, strength, max(1, round(width)), cv2.LINE_AA, shift=4)
        if width > 0.8 and length > 5:
            for at in rng.integers(2, length, 2):
                side = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.1)
                child = (xs[at], ys[at], turns[at] + side, width * 0.62, int(length * 0.65))
                pending.append(child)
    return cv2.GaussianBlur(drawing, (3, 3), 0).astype(np.float32) / 255.0


def wet_patches(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return where a surface is wet and rough enough to glitter: 0 in most places."""
    patches = fbm(rng, shape, rng.uniform(3, 8), 3)
    return np.clip((patches - rng.uniform(0.55, 0.75)) / 0.12, 0.0, 1.0)


def pattern(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw one of several artificial patterns: stripes, checks, dots, rings, weave, blotches."""
    h, w = shape
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / max(h, w)
    angle = rng.uniform(0, np.pi)
    u = np.cos(angle) * x + np.sin(angle) * y
    v = -np.sin(angle) * x + np.cos(angle) * y
    n = 2.0 * np.pi * rng.uniform(3, 14)
    kind = int(rng.integers(6))
    if kind == 0:
        values = np.sin(n * u + 3.0 * fbm(rng, shape, 2, 2))
    elif kind == 1:
        values = np.sign(np.sin(n * u)) * np.sign(np.sin(n * v))
    elif kind == 2:
        values = np.sin(n * u) * np.sin(n * v)
    elif kind == 3:
        values = np.sin(n * np.hypot(x - rng.uniform(0, 1), y - rng.uniform(0, 1)))
    elif kind == 4:
        values = np.maximum(np.sin(4 * n * u), np.sin(4 * n * v))
    else:
        values = (fbm(rng, shape, rng.uniform(2, 9), 3) > 0.5).astype(np.float32)
    return stretch(values.astype(np.float32))


def surface(height: np.ndarray, relief: float, gloss: np.ndarray | float) -> np.ndarray:
    """Return normals and gloss, (h, w, 3) uint8, of a height map.

    `relief` is the height of 1.0 in pixels; channel 2 is the gloss (0..1 stored as 0..255).
    """
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=relief / 8.0)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=relief / 8.0)
    length = np.sqrt(dx * dx + dy * dy + 1.0)
    result = np.empty((*height.shape, 3), np.uint8)
    result[..., 0] = NORMAL_ZERO - 127.0 * dx / length
    result[..., 1] = NORMAL_ZERO - 127.0 * dy / length
    result[..., 2] = np.clip(np.asarray(gloss) * 255.0, 0, 255)
    return result


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Blend colours `a` and `b`, (3,) or (h, w, 3), by `weight` (h, w): (h, w, 3) float32."""
    weight = weight[..., None].astype(np.float32)
    return np.asarray(a * (1.0 - weight) + b * weight, dtype=np.float32)


def to_bytes(colour: np.ndarray) -> np.ndarray:
    """Clip colours to 0 to 255 and convert them to uint8."""
    return np.clip(colour, 0, 255).astype(np.uint8)
