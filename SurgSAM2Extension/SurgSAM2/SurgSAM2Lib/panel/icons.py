"""Icons of buttons, drawn in the colours of the markers in the views."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import qt

from SurgSAM2Lib.prompts.kinds import (
    BOX,
    COLORS,
    LASSO,
    NEGATIVE,
    NOT_SCRIBBLE,
    POSITIVE,
    SCRIBBLE,
)

SIZE = 32
"""Width and height in pixels; Qt reduces it to the button's size."""
_PAINT = (0.45, 0.55, 0.95)


def prompt_icons() -> dict[str, Any]:
    """Return a ``QIcon`` by kind of prompt, and one for "paint"."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    distance = np.hypot(rows, columns)
    far = np.maximum(np.abs(rows), np.abs(columns))
    across, along = (columns + rows) / np.sqrt(2), (columns - rows) / np.sqrt(2)
    brush = (np.abs(across) < 3) & (along > -4) & (along < 15)
    tip = np.hypot(across, along + 9) < 6.5
    wave = (np.abs(rows - 7 * np.sin(columns / 4)) < 4) & (np.abs(columns) < 14)
    oval = np.hypot((rows + 3) / 9, columns / 14)
    lasso = (np.abs(oval - 0.85) < 0.16) | ((np.abs(columns + 4) < 2) & (rows > 4) & (rows < 15))
    return {
        POSITIVE: _icon(distance < 11, COLORS[POSITIVE]),
        NEGATIVE: _icon(distance < 11, COLORS[NEGATIVE]),
        BOX: _icon((far < 13) & (far > 9), COLORS[BOX]),
        SCRIBBLE: _icon(wave, COLORS[SCRIBBLE]),
        NOT_SCRIBBLE: _icon(wave, COLORS[NOT_SCRIBBLE]),
        LASSO: _icon(lasso, COLORS[LASSO]),
        "paint": _icon(brush | tip, _PAINT),
    }


def _icon(shape: np.ndarray, color: tuple[float, float, float]) -> Any:
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(_as_png(shape, color)), "PNG")
    return qt.QIcon(pixmap)


def _as_png(shape: np.ndarray, color: tuple[float, float, float]) -> bytes:
    """Return a PNG file of a shape, (SIZE, SIZE) bool, in one colour on nothing."""
    pixels = np.zeros((SIZE, SIZE, 4), np.uint8)
    pixels[shape] = [*(round(255 * part) for part in color), 255]
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
