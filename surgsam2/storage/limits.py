"""Limits on what one file may ask for; a file beyond them counts as damaged or hostile.

An environment variable, which child processes inherit, raises or lowers each limit. The defaults
leave room for every real surgical video.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from surgsam2.errors import InputError


class Limit(NamedTuple):
    """One limit."""

    variable: str
    """The name of the environment variable."""
    default: int
    """The limit where the variable is not set."""

    @property
    def value(self) -> int:
        """The current limit; `InputError` if the variable is no whole number above 0."""
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        if not text.isascii() or not text.isdecimal() or len(text) > 18 or not int(text):
            raise InputError(f"{self.variable} must be a whole number above 0, got {text!r}")
        return int(text)


FRAME_SIDE = Limit("SURGSAM2_MAX_FRAME_SIDE", 16384)
"""Largest width and largest height of a frame, in pixels."""
FRAME_PIXELS = Limit("SURGSAM2_MAX_FRAME_PIXELS", 2**26)
"""Largest number of pixels of one frame or mask: twice that of 8K video."""
FRAMES = Limit("SURGSAM2_MAX_FRAMES", 10_000_000)
"""Largest number of frames of one video: 46 hours at 60 frames a second."""
MASK_PIXELS = Limit("SURGSAM2_MAX_MASK_PIXELS", 2**32)
"""Largest number of pixels of all masks of one prompt file, or of all objects of one label image,
together: 2000 masks of full HD."""
SEQUENCE_BYTES = Limit("SURGSAM2_MAX_SEQUENCE_BYTES", 16 * 2**30)
"""Size of the largest medical image sequence that is read into memory, in bytes."""
ARCHIVE_BYTES = Limit("SURGSAM2_MAX_ARCHIVE_BYTES", 32 * 2**30)
"""Size of all files of a zip archive together, unpacked, in bytes."""
ARCHIVE_MEMBERS = Limit("SURGSAM2_MAX_ARCHIVE_MEMBERS", 100_000)
"""Largest number of files and folders in a zip archive."""
ARCHIVE_RATIO = Limit("SURGSAM2_MAX_ARCHIVE_RATIO", 200)
"""Largest ratio of the files of a zip archive to the archive itself, above 64 MiB."""


def size_allowed(width: int, height: int) -> bool:
    """Return whether `FRAME_SIDE` and `FRAME_PIXELS` allow an image of this size in pixels."""
    side = FRAME_SIDE.value
    return width <= side and height <= side and width * height <= FRAME_PIXELS.value
