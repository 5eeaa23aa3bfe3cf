"""How much one file may ask for before it is taken for damaged or hostile.

Each limit is a number of its own and can be raised, or lowered, by an environment variable
(which child processes inherit). The defaults leave room for every real surgical video.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from surgsam2.errors import InputError


class Limit(NamedTuple):
    """One limit; `value` reads it."""

    variable: str
    """Name of the environment variable."""
    default: int

    @property
    def value(self) -> int:
        """The limit now. Raises `InputError` when the variable is not a positive number."""
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        if not text.isascii() or not text.isdecimal() or len(text) > 18 or not int(text):
            raise InputError(f"{self.variable} must be a whole number above 0, got {text!r}")
        return int(text)


FRAME_SIDE = Limit("SURGSAM2_MAX_FRAME_SIDE", 16384)
"""Widest and tallest frame, in pixels."""
FRAME_PIXELS = Limit("SURGSAM2_MAX_FRAME_PIXELS", 2**26)
"""Most pixels of one frame or mask (twice 8K video)."""
FRAMES = Limit("SURGSAM2_MAX_FRAMES", 10_000_000)
"""Most frames of one video (46 hours at 60 a second)."""
MASK_PIXELS = Limit("SURGSAM2_MAX_MASK_PIXELS", 2**32)
"""Most pixels of all masks of one prompt file, or of the objects of one label image, together
(2000 masks of full HD)."""
SEQUENCE_BYTES = Limit("SURGSAM2_MAX_SEQUENCE_BYTES", 16 * 2**30)
"""Largest medical image sequence that is held in memory as a whole."""
ARCHIVE_BYTES = Limit("SURGSAM2_MAX_ARCHIVE_BYTES", 32 * 2**30)
"""Most bytes that all files of a zip archive have together, unpacked."""
ARCHIVE_MEMBERS = Limit("SURGSAM2_MAX_ARCHIVE_MEMBERS", 100_000)
"""Most files and folders of a zip archive."""
ARCHIVE_RATIO = Limit("SURGSAM2_MAX_ARCHIVE_RATIO", 200)
"""How many times as large as the archive its files may be together, above 64 MiB."""


def size_allowed(width: int, height: int) -> bool:
    """Whether `FRAME_SIDE` and `FRAME_PIXELS` allow an image of this size in pixels."""
    side = FRAME_SIDE.value
    return width <= side and height <= side and width * height <= FRAME_PIXELS.value
