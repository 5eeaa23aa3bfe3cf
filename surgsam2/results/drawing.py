"""Drawing of masks, contours and names over a frame."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np

from surgsam2.prompts.prompt_set import default_name
from surgsam2.storage.palette import default_color, rgb_of

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK = (16, 16, 16)
_LIGHT = (235, 235, 235)
_Rect = tuple[int, int, int, int]  # x, y, width, height


class DrawnObject(Protocol):
    """How an object is drawn; a `PromptedObject` is one."""

    @property
    def id(self) -> int:
        """1 to 65535."""

    @property
    def name(self) -> str:
        """The name that stands beside the object."""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, each 0 to 255."""


@dataclass(frozen=True)
class PlainObject:
    """An object of which only the id is known."""

    id: int
    """1 to 65535."""

    @property
    def name(self) -> str:
        """The name of an object that was not given one."""
        return default_name(self.id)

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour of an object that was not given one."""
        return rgb_of(default_color(self.id))


def draw_masks(
    frame: np.ndarray,
    masks: Sequence[np.ndarray],
    objects: Sequence[DrawnObject],
    number: int,
    opacity: float = 0.35,
) -> np.ndarray:
    """Draw objects over a copy of a frame.

    Each mask is filled in its object's colour and gets a contour in full colour between two dark
    lines, or two light ones if the colour is dark itself, so that it is seen on any ground, and
    the object's name beside its largest part. The built-in font has ASCII only: accents are left
    out, and a name in another script becomes ``object ID``.

    Args:
        frame: the pixels, (H, W, 3) uint8 RGB, which are not changed.
        masks: (H, W) bool masks; later ones lie on top.
        objects: the object of each mask.
        number: the number in the bottom left corner, the index of the frame.
        opacity: opacity of the fills, 0 to 1.

    Returns:
        The picture, (H, W, 3) uint8 RGB.
    """
    canvas = frame.copy()
    height, width = canvas.shape[:2]
    scale = min(max(min(width, height) / 720, 0.5), 4)
    drawn = []
    for mask, item in zip(masks, objects, strict=True):
        pixels = mask.view(np.uint8)
        x, y, w, h = cv2.boundingRect(pixels)
        if w:
            drawn.append((pixels, item, (x, y, w, h)))
            _fill(canvas, pixels, (x, y, w, h), item.rgb, opacity)
    # Contours are drawn after all fills, so that a neighbour's fill does not cover them.
    for pixels, item, rect in drawn:
        _outline(canvas, pixels, rect, item.rgb, scale)
    taken = [_frame_number(canvas, number, scale)]
    for pixels, item, rect in drawn:
        part = _largest_part(pixels, rect)
        top = _top(pixels, part)
        _label(canvas, _printable(item.name, item.id), part, top, item.rgb, scale, taken)
    return canvas


def _fill(
    canvas: np.ndarray,
    pixels: np.ndarray,
    rect: _Rect,
    color: tuple[int, int, int],
    opacity: float,
) -> None:
    x, y, w, h = rect
    region = canvas[y : y + h, x : x + w]
    levels = np.arange(256, dtype=np.float32)[:, None] * (1 - opacity)
    table = np.rint(levels + np.float32(opacity) * np.array(color, np.float32)).astype(np.uint8)
    blended = cv2.LUT(region, table[None])
    cv2.copyTo(blended, pixels[y : y + h, x : x + w], region)


def _outline(
    canvas: np.ndarray,
    pixels: np.ndarray,
    rect: _Rect,
    color: tuple[int, int, int],
    scale: float,
) -> None:
    x, y, w, h = rect
    contours, _ = cv2.findContours(
        np.ascontiguousarray(pixels[y : y + h, x : x + w]),
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_NONE,
        offset=(x, y),
    )
    width = max(1, round(1.5 * scale))
    border = _LIGHT if _is_dark(color) else _DARK
    cv2.drawContours(canvas, contours, -1, border, width + 2 * max(1, round(scale)), cv2.LINE_AA)
    cv2.drawContours(canvas, contours, -1, color, width, cv2.LINE_AA)


def _largest_part(pixels: np.ndarray, rect: _Rect) -> _Rect:
    """Return the box of the largest connected part of a mask."""
    x, y, w, h = rect
    region = np.ascontiguousarray(pixels[y : y + h, x : x + w])
    count, _, stats, _ = cv2.connectedComponentsWithStats(region, connectivity=8)
    if count <= 2:
        return rect
    left, top, width, height, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    return (x + left, y + top, width, height)


def _top(pixels: np.ndarray, rect: _Rect) -> int:
    """Return the column around which the upper end of a part of a mask lies."""
    x, y, w, h = rect
    rows = pixels[y : y + max(1, h // 16), x : x + w]
    return x + round(float(np.mean(np.nonzero(rows)[1])))


def _label(
    canvas: np.ndarray,
    text: str,
    rect: _Rect,
    top: int,
    color: tuple[int, int, int],
    scale: float,
    taken: list[_Rect],
) -> None:
    """Draw the name above, below or inside the object, where no other text is yet."""
    x, y, w, h = rect
    letters = _letters(text, 0.65 * scale)
    text_height, text_width = letters.shape
    gap = round(3 * scale)
    left = x + (w - text_width) // 2
    places = [
        (max(0, min(top - text_width // 2, canvas.shape[1] - text_width)), y - gap - text_height),
        (left, y + h + gap),
        (left, y + (h - text_height) // 2),
        (x + w + gap, y + (h - text_height) // 2),
        (x - gap - text_width, y + (h - text_height) // 2),
    ]
    size = (text_width, text_height)
    inside = [(*_clamped(place, size, canvas), *size) for place in places]
    free = [
        spot
        for spot, place in zip(inside, places, strict=True)
        if spot[:2] == place and not any(_touch(spot, other) for other in taken)
    ]
    apart = [spot for spot in inside if not any(_touch(spot, other) for other in taken)]
    spot = (free or apart or inside)[0]
    taken.append(spot)
    _text(canvas, letters, spot[:2], _lightened(color), scale)


def _frame_number(canvas: np.ndarray, index: int, scale: float) -> _Rect:
    letters = _letters(str(index), 0.45 * scale)
    height, width = letters.shape
    margin = round(6 * scale)
    x, y = _clamped((margin, canvas.shape[0] - margin - height), (width, height), canvas)
    _text(canvas, letters, (x, y), _LIGHT, scale)
    return (x, y, width, height)


@lru_cache(maxsize=64)
def _letters(text: str, size: float) -> np.ndarray:
    """Return the (h, w) uint8 coverage of a text, with a margin for its border.

    It is cut to the drawn pixels, because text metrics differ between versions of OpenCV.
    """
    thickness = max(1, round(2 * size))
    (width, height), baseline = cv2.getTextSize(text, _FONT, size, thickness)
    pad = height + baseline + 8
    image = np.zeros((height + baseline + 2 * pad, width + width // 4 + 2 * pad), np.uint8)
    cv2.putText(image, text, (pad, pad + height), _FONT, size, 255, thickness, cv2.LINE_AA)
    x, y, w, h = cv2.boundingRect(image)
    border = _border(size / 0.45)  # the widest border of any text
    return cv2.copyMakeBorder(
        image[y : y + h, x : x + w], *(border,) * 4, cv2.BORDER_CONSTANT, value=0
    )


def _border(scale: float) -> int:
    return max(1, round(2 * scale))


def _text(
    canvas: np.ndarray,
    letters: np.ndarray,
    place: tuple[int, int],
    color: tuple[int, int, int],
    scale: float,
) -> None:
    """Draw letters with a dark border; parts outside the frame are cut off."""
    x, y = place
    region = canvas[y : y + letters.shape[0], x : x + letters.shape[1]]
    letters = letters[: region.shape[0], : region.shape[1]]
    side = 2 * _border(scale) + 1
    around = cv2.dilate(letters, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    blended = region.astype(np.float32)
    for coverage, ink in ((around, _DARK), (letters, color)):
        alpha = coverage[..., None].astype(np.float32) / 255
        blended += (np.array(ink, np.float32) - blended) * alpha
    region[:] = np.rint(blended).astype(np.uint8)


def _clamped(place: tuple[int, int], size: tuple[int, int], canvas: np.ndarray) -> tuple[int, int]:
    x = max(0, min(place[0], canvas.shape[1] - size[0]))
    y = max(0, min(place[1], canvas.shape[0] - size[1]))
    return x, y


def _touch(a: _Rect, b: _Rect) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _lightened(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the colour for text on a dark border, half way to white if it is dark itself."""
    if not _is_dark(color):
        return color
    red, green, blue = color
    return (red + 255) // 2, (green + 255) // 2, (blue + 255) // 2


def _is_dark(color: tuple[int, int, int]) -> bool:
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue < 110


def _printable(name: str, object_id: int) -> str:
    """Return the name in ASCII, which is all that the font has, with at most 40 letters."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    letters = "".join(c if " " <= c <= "~" else "?" for c in plain)
    if not any(c.isalnum() for c in letters) or letters.count("?") > plain.count("?"):
        return f"object {object_id}"
    return letters if len(letters) <= 40 else f"{letters[:37]}..."
