"""The colours of objects that were not given one, and of label images."""

from __future__ import annotations

import colorsys

import numpy as np

# The colour-blind-safe sets of Okabe and Ito and of Paul Tol. Colours that stand out from the
# reds, pinks and browns of tissue come first.
_PALETTE = (
    "#56b4e9",
    "#f0e442",
    "#009e73",
    "#cc79a7",
    "#0072b2",
    "#e69f00",
    "#44aa99",
    "#d55e00",
    "#332288",
    "#ddcc77",
    "#117733",
    "#aa4499",
    "#88ccee",
    "#999933",
    "#882255",
    "#cc6677",
)


def default_color(object_id: int) -> str:
    """Return the colour ``#rrggbb`` of an object that was not given one.

    Objects with neighbouring ids have different colours.
    """
    if object_id <= len(_PALETTE):
        return _PALETTE[object_id - 1]
    step = object_id - len(_PALETTE)
    hue = step * 0.6180339887498949 % 1.0
    saturation = (0.9, 0.6, 0.75)[step % 3]
    value = (0.95, 0.7, 0.85, 0.6)[step % 4]
    return hex_color([round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value)])


def rgb_of(color: str) -> tuple[int, int, int]:
    """Return red, green and blue, each 0 to 255, of a colour ``#rrggbb``.

    Raises:
        ValueError: the text is no such colour.
    """
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def hex_color(rgb: object) -> str:
    """Return a list of red, green and blue (0 to 255) as ``#rrggbb``; empty for anything else."""
    if not isinstance(rgb, list) or len(rgb) != 3:
        return ""
    try:
        return f"#{bytes(rgb).hex()}"
    except (TypeError, ValueError):
        return ""


def _voc_palette() -> np.ndarray:
    """Return the colours of PASCAL VOC.

    The bits of a colour's index are spread over the high bits of red, green and blue.
    """
    index = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return colours.astype(np.uint8)


VOC_PALETTE = _voc_palette()
"""(256, 3) uint8 RGB. Row i is the colour of object i; row 0, black, is the background."""
