"""Palettes for label images."""

from __future__ import annotations

from collections.abc import Iterable

from surgsam2.prompts import PromptedObject


def label_palette(objects: Iterable[PromptedObject]) -> bytes:
    """768 bytes (256 RGB colours) for 8-bit label images.

    0 is black, each object's id has the object's own colour, and the remaining entries are
    the PASCAL VOC / DAVIS colours. Objects with an id above 255 are left out.
    """
    palette = bytearray(b"".join(_voc_color(index) for index in range(256)))
    for item in objects:
        if item.id <= 255:
            palette[3 * item.id : 3 * item.id + 3] = bytes(item.rgb)
    return bytes(palette)


def _voc_color(index: int) -> bytes:
    """The index's bits, three at a time, fill red, green and blue from their highest bit down."""
    channels = [0, 0, 0]
    for shift in range(7, -1, -1):
        for channel in range(3):
            channels[channel] |= (index >> channel & 1) << shift
        index >>= 3
    return bytes(channels)
