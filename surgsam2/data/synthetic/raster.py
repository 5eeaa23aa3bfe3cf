"""Sprites, and the buffers into which they are painted.

A scene is painted back to front into a `Canvas`, which holds colour, normal, gloss and label
of each pixel. Light is added afterwards, once for the whole image (`lighting`), so that its
cost does not grow with the number of objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from surgsam2.data.synthetic.texture import NORMAL_ZERO

_MAX_SMEAR = 40.0
"""Longest motion blur in pixels."""

Displace = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Sprite:
    """A textured piece of surface in its own pixel grid."""

    rgba: np.ndarray
    """Colour and coverage, (h, w, 4) uint8; colours continue beyond the shape, for its edges."""
    surface: np.ndarray
    """Normal x, normal y (128 is 0) and gloss, (h, w, 3) uint8."""


@dataclass(frozen=True, eq=False)
class Fragment:
    """A sprite placed in the image: a rectangle whose first pixel is (x0, y0)."""

    x0: int
    y0: int
    rgba: np.ndarray
    surface: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that the fragment covers."""
        h, w = self.rgba.shape[:2]
        return slice(self.y0, self.y0 + h), slice(self.x0, self.x0 + w)


def clip_box(
    low: np.ndarray, high: np.ndarray, size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Return the box (x0, y0, x1, y1) of whole pixels within an image, or None."""
    x0, y0 = (int(max(np.floor(v) - 1, 0)) for v in low)
    x1, y1 = (int(min(np.ceil(v) + 2, s)) for v, s in zip(high, size, strict=True))
    return (x0, y0, x1, y1) if x1 - x0 >= 2 and y1 - y0 >= 2 else None


def turn_normals(surface: np.ndarray, angle: float) -> np.ndarray:
    """Return the surface map turned by `angle` radians (x towards y)."""
    c, s = np.cos(angle), np.sin(angle)
    z = NORMAL_ZERO
    matrix = np.array(
        [[c, -s, 0, z - c * z + s * z], [s, c, 0, z - s * z - c * z], [0, 0, 1, 0]], np.float32
    )
    return cv2.transform(surface, matrix)


def place_quad(sprite: Sprite, quad: np.ndarray, size: tuple[int, int]) -> Fragment | None:
    """Stretch the sprite over a quadrilateral of the image.

    `quad` is (4, 2): the pixels of the sprite's top-left, top-right, bottom-right and
    bottom-left corners. None when it is outside the image.
    """
    box = clip_box(quad.min(axis=0), quad.max(axis=0), size)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    h, w = sprite.rgba.shape[:2]
    corners = np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]], np.float32)
    target = (quad - (x0, y0)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    shape = (x1 - x0, y1 - y0)
    rgba = cv2.warpPerspective(sprite.rgba, matrix, shape, flags=cv2.INTER_LINEAR)
    surface = cv2.warpPerspective(
        sprite.surface, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    axis = quad[1] - quad[0]
    return Fragment(x0, y0, rgba, turn_normals(surface, float(np.arctan2(axis[1], axis[0]))))


def dense_maps(
    box: tuple[int, int, int, int], step: int, displace: Displace
) -> tuple[np.ndarray, np.ndarray]:
    """Compute maps for `cv2.remap` over a box on a grid of `step` pixels and interpolate them.

    `displace` turns image x and y (2-D arrays) into sprite x and y.
    """
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    cols, rows = -(-w // step) + 2, -(-h // step) + 2
    xs = x0 - step + (np.arange(cols) + 0.5) * step - 0.5
    ys = y0 - step + (np.arange(rows) + 0.5) * step - 0.5
    grid_x, grid_y = np.meshgrid(xs.astype(np.float32), ys.astype(np.float32))
    inside = (slice(step, step + h), slice(step, step + w))
    map_x, map_y = (
        cv2.resize(m.astype(np.float32), (cols * step, rows * step))[inside]
        for m in displace(grid_x, grid_y)
    )
    return np.ascontiguousarray(map_x), np.ascontiguousarray(map_y)


def place_warped(
    sprite: Sprite, box: tuple[int, int, int, int], step: int, displace: Displace, angle: float
) -> Fragment:
    """Draw the sprite through a smooth deformation, within a box of the image."""
    map_x, map_y = dense_maps(box, step, displace)
    rgba = cv2.remap(sprite.rgba, map_x, map_y, cv2.INTER_LINEAR)
    surface = cv2.remap(sprite.surface, map_x, map_y, cv2.INTER_LINEAR)
    return Fragment(box[0], box[1], rgba, turn_normals(surface, angle))


def merge(parts: list[Fragment]) -> Fragment | None:
    """Merge fragments, given back to front, into one."""
    if len(parts) < 2:
        return parts[0] if parts else None
    x0, y0 = min(p.x0 for p in parts), min(p.y0 for p in parts)
    x1 = max(p.window[1].stop for p in parts)
    y1 = max(p.window[0].stop for p in parts)
    rgba = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
    surface = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    used = (x1, y1, x0, y0)  # Only within the box of what is painted already is blending needed.
    for part in parts:
        rows, cols = part.window
        both = (
            slice(max(rows.start, used[1]), min(rows.stop, used[3])),
            slice(max(cols.start, used[0]), min(cols.stop, used[2])),
        )
        mine = tuple(
            slice(s.start - o, s.stop - o) for s, o in zip(both, (part.y0, part.x0), strict=True)
        )
        ours = tuple(slice(s.start - o, s.stop - o) for s, o in zip(both, (y0, x0), strict=True))
        overlap = both[0].start < both[0].stop and both[1].start < both[1].stop
        below, below_surface = (
            (rgba[ours].copy(), surface[ours].copy()) if overlap else (None, None)
        )
        whole = slice(rows.start - y0, rows.stop - y0), slice(cols.start - x0, cols.stop - x0)
        rgba[whole], surface[whole] = part.rgba, part.surface
        if below is not None and below_surface is not None:
            above = np.ascontiguousarray(part.rgba[mine])
            alpha = above[..., 3]
            # Where nothing is painted the part is copied; its edge is blended once, with the scene.
            weight = np.where((below[..., 3] == 0) & (alpha > 0), np.uint8(255), alpha)
            rgba[ours] = blend(below, above, weight)
            rgba[ours][..., 3] = cv2.max(below[..., 3], alpha)
            surface[ours] = blend(below_surface, part.surface[mine], weight)
        used = (
            min(used[0], cols.start), min(used[1], rows.start),
            max(used[2], cols.stop), max(used[3], rows.stop),
        )  # fmt: skip
    return Fragment(x0, y0, rgba, surface)


def blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend two uint8 images by a uint8 alpha (h, w)."""
    weight = alpha.astype(np.float32) * np.float32(1.0 / 255.0)
    return cv2.blendLinear(
        np.ascontiguousarray(above), np.ascontiguousarray(below), weight, 1.0 - weight
    )


Shift = tuple[int, int]


def smear_shifts(velocity: np.ndarray) -> list[Shift]:
    """Return the shifts that `smear` along `velocity` (x, y in pixels); none below 2 pixels."""
    length = float(np.hypot(*velocity))
    if length < 2.0:
        return []
    velocity = velocity * min(1.0, _MAX_SMEAR / length)
    doublings = 2 if length < 5.0 else 3 if length < 18.0 else 4
    step = velocity / 2**doublings
    shifts = [np.round(step * 2**k).astype(int) for k in range(doublings)]
    return [(int(x), int(y)) for x, y in shifts if x or y]


def smear(image: np.ndarray, shifts: list[Shift]) -> np.ndarray:
    """Average the image along a centred line; outside the image its border is repeated.

    Each shift averages the image with its moved copy, so that k of them make 2^k taps: a
    long line costs little more than a short one.
    """
    total_x, total_y = sum(abs(x) for x, _ in shifts), sum(abs(y) for _, y in shifts)
    left, top = total_x // 2, total_y // 2
    image = cv2.copyMakeBorder(
        image, top, total_y - top, left, total_x - left, cv2.BORDER_REPLICATE
    )
    for x, y in shifts:
        h, w = image.shape[0] - abs(y), image.shape[1] - abs(x)
        x0, y0 = max(-x, 0), max(-y, 0)
        x1, y1 = max(x, 0), max(y, 0)
        image = cv2.addWeighted(
            image[y0 : y0 + h, x0 : x0 + w], 0.5, image[y1 : y1 + h, x1 : x1 + w], 0.5, 0.0
        )
    return image


class Canvas:
    """Colour, surface and label of every pixel."""

    def __init__(self, size: tuple[int, int]) -> None:
        w, h = size
        self.size = size
        self.colour = np.zeros((h, w, 3), np.uint8)
        self.surface = np.zeros((h, w, 3), np.uint8)
        self.labels = np.zeros((h, w), np.uint16)

    def paint_label(self, fragment: Fragment, object_id: int) -> None:
        """Label the pixels that are at least half covered with `object_id` (0 for none)."""
        self.labels[fragment.window][fragment.rgba[..., 3] > 127] = object_id

    def paint_shadow(self, fragment: Fragment, offset: tuple[int, int], reach: int) -> None:
        """Darken what lies under and around the fragment, `reach` pixels wide."""
        w, h = self.size
        pad = 2 * reach
        x0, y0 = max(fragment.x0 - pad, 0), max(fragment.y0 - pad, 0)
        rows, cols = fragment.window
        x1, y1 = min(cols.stop + pad, w), min(rows.stop + pad, h)
        k = 4
        small: np.ndarray = np.zeros((-(-(y1 - y0) // k), -(-(x1 - x0) // k)), np.float32)
        ah, aw = max((rows.stop - rows.start) // k, 1), max((cols.stop - cols.start) // k, 1)
        alpha = cv2.resize(fragment.rgba[..., 3], (aw, ah), interpolation=cv2.INTER_AREA)
        sx = max((fragment.x0 + offset[0] - x0) // k, 0)
        sy = max((fragment.y0 + offset[1] - y0) // k, 0)
        part = small[sy : sy + ah, sx : sx + aw]
        part[:] = alpha[: part.shape[0], : part.shape[1]]
        blur = max(2 * reach // k, 1) | 1
        small = cv2.blur(cv2.blur(small, (blur, blur)), (blur, blur))
        light = cv2.resize(1.0 - small * np.float32(0.55 / 255.0), (x1 - x0, y1 - y0))
        window = self.colour[y0:y1, x0:x1]
        window[:] = cv2.multiply(window, cv2.merge([light] * 3), dtype=cv2.CV_8U)

    def paint(self, fragment: Fragment, shifts: list[Shift] | None = None) -> None:
        """Blend the fragment over colour and surface, smeared by `shifts`.

        Smearing is motion blur of this fragment alone; it does not touch the labels.
        """
        if shifts:
            self._paint_smeared(fragment, shifts)
            return
        rows, cols = fragment.window
        weight = fragment.rgba[..., 3].astype(np.float32) * np.float32(1.0 / 255.0)
        rest = 1.0 - weight
        rgb = cv2.cvtColor(fragment.rgba, cv2.COLOR_RGBA2RGB)
        self.colour[rows, cols] = cv2.blendLinear(rgb, self.colour[rows, cols], weight, rest)
        self.surface[rows, cols] = cv2.blendLinear(
            fragment.surface, self.surface[rows, cols], weight, rest
        )

    def _paint_smeared(self, fragment: Fragment, shifts: list[Shift]) -> None:
        pad_x = sum(abs(x) for x, _ in shifts) // 2 + 1
        pad_y = sum(abs(y) for _, y in shifts) // 2 + 1
        w, h = self.size
        rows, cols = fragment.window
        # The box grows by the reach of the smear; the fragment continues at the image's border.
        top, left = min(pad_y, rows.start), min(pad_x, cols.start)
        bottom, right = min(pad_y, h - rows.stop), min(pad_x, w - cols.stop)
        window = (
            slice(rows.start - top, rows.stop + bottom),
            slice(cols.start - left, cols.stop + right),
        )

        def smeared(image: np.ndarray) -> np.ndarray:
            edges = (top, bottom, left, right)
            return smear(cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT), shifts)

        alpha = np.ascontiguousarray(fragment.rgba[..., 3])
        share = cv2.merge([alpha.astype(np.float32) * np.float32(1.0 / 255.0)] * 3)
        rest = cv2.merge([1.0 - smeared(alpha).astype(np.float32) * np.float32(1.0 / 255.0)] * 3)
        rgb = cv2.cvtColor(fragment.rgba, cv2.COLOR_RGBA2RGB)
        for image, target in ((rgb, self.colour), (fragment.surface, self.surface)):
            above = smeared(cv2.multiply(image, share, dtype=cv2.CV_8U))
            below = cv2.multiply(target[window], rest, dtype=cv2.CV_8U)
            target[window] = cv2.add(above, below)
