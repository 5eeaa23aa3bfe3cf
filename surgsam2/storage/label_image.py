"""Label images as files: pixels are object ids, in the DAVIS and VOC layout."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from surgsam2.storage.atomic_file import write_bytes_atomically
from surgsam2.storage.palette import VOC_PALETTE

LABELS = "masks"
"""Folder with the label images, inside the output folder."""


def label_name(frame_index: int) -> str:
    """The file name of a frame's label image."""
    return f"{frame_index:05d}.png"


def write_labels(path: Path, labels: np.ndarray, palette: bytes | None) -> None:
    """Write one label image, atomically.

    Args:
        labels: (H, W) object ids, uint8 with a palette, uint16 without.
        palette: of `label_palette`.

    Raises:
        OutputError: it cannot be written; the file that was there is intact.
    """
    image = Image.fromarray(labels)
    if palette is not None:
        image.putpalette(palette)
    buffer = io.BytesIO()
    # run-length coding: label images are long runs, and it is several times
    # faster than looking for matches
    image.save(buffer, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)
    write_bytes_atomically(path, buffer.getbuffer())


def label_palette(colors: Mapping[int, tuple[int, int, int]]) -> bytes | None:
    """768 bytes (256 RGB colours) for 8-bit label images; None when an id is above 255.

    0 is black, each object's id has the object's own colour, and the remaining entries are
    the PASCAL VOC / DAVIS colours.

    Args:
        colors: object id -> red, green, blue, each 0 to 255.
    """
    if max(colors, default=0) > 255:
        return None
    palette = bytearray(VOC_PALETTE.tobytes())
    for object_id, rgb in colors.items():
        palette[3 * object_id : 3 * object_id + 3] = bytes(rgb)
    return bytes(palette)
