"""Label images: PNG files whose pixels are object ids, as in the data sets DAVIS and VOC."""

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
"""Name of the folder with the label images, inside the output folder."""


def label_name(frame_index: int) -> str:
    """Return the file name of a frame's label image."""
    return f"{frame_index:05d}.png"


def write_labels(path: Path, labels: np.ndarray, palette: bytes | None) -> None:
    """Write one label image atomically.

    Args:
        path: the PNG file.
        labels: (H, W) object ids, uint8 with a palette and uint16 without.
        palette: the palette, from `label_palette`.

    Raises:
        OutputError: the file cannot be written; an earlier file is intact.
    """
    image = Image.fromarray(labels)
    if palette is not None:
        image.putpalette(palette)
    buffer = io.BytesIO()
    # Label images consist of long runs, and run-length coding is several times faster than
    # searching for repeated text.
    image.save(buffer, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)
    write_bytes_atomically(path, buffer.getbuffer())


def label_palette(colors: Mapping[int, tuple[int, int, int]]) -> bytes | None:
    """Return the palette of 8-bit label images.

    Entry 0 is black, the entry of an object has the object's colour, and the others have the
    colours of PASCAL VOC and DAVIS.

    Args:
        colors: red, green and blue, each 0 to 255, by object id.

    Returns:
        768 bytes: 256 colours of red, green and blue. None if an id is above 255.
    """
    if max(colors, default=0) > 255:
        return None
    palette = bytearray(VOC_PALETTE.tobytes())
    for object_id, rgb in colors.items():
        palette[3 * object_id : 3 * object_id + 3] = bytes(rgb)
    return bytes(palette)
