"""The colour palette of DAVIS and Pascal VOC annotations."""

from __future__ import annotations

import numpy as np


def _voc_palette() -> np.ndarray:
    """Colour i spreads i's bits over the high bits of red, green and blue."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return colours.astype(np.uint8)


PALETTE = _voc_palette()
"""(256, 3) uint8 RGB; row i shows object i, row 0 (black) the background."""
