"""Mask images beside a prompt file: PNG files in which non-zero pixels are the object."""

from __future__ import annotations

import unicodedata
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from surgsam2.errors import ImageFileError, PromptError
from surgsam2.prompts.checks import one_line, show


def check_mask_path(text: str) -> None:
    """Check a path that a prompt file gives for a mask.

    Raises:
        PromptError: it is empty, has control characters, is absolute, or leaves the folder.
    """
    windows = PureWindowsPath(text)
    if not text or any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise PromptError(f"{show(text)} is not a file name")
    if windows.drive or windows.root or PurePosixPath(text).is_absolute():
        raise PromptError(
            f"the mask path {show(text)} is absolute; give it relative to the prompt file's folder"
        )
    if ".." in windows.parts or ".." in PurePosixPath(text).parts:
        raise PromptError(
            f"the mask path {show(text)} leaves the prompt file's folder; "
            f"put the mask in that folder or below it"
        )


def read_mask(folder: Path, relative: str) -> np.ndarray:
    """Read a mask image.

    Args:
        folder: the folder of the prompt file.
        relative: the path of the PNG file, from there.

    Returns:
        (H, W) bool: true where any colour channel is non-zero and the pixel is not fully
        transparent.

    Raises:
        PromptError: there is no such file, it cannot be read as PNG, or it is a link that leaves
            the folder.
    """
    from surgsam2.storage.image_file import read_pixels

    shown = show(relative)
    try:
        path = (folder / relative).resolve()
        inside = path.is_relative_to(folder.resolve())
        regular = path.is_file()
        exists = path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise PromptError(f"the mask file {shown} cannot be read: {one_line(error)}") from error
    if not inside:
        raise PromptError(
            f"the mask {shown} is a link that leaves the prompt file's folder; "
            f"put the mask in that folder or below it"
        )
    if not regular:
        why = "is not a file" if exists else "does not exist"
        raise PromptError(f"the mask file {shown} {why}; masks lie beside the prompt file")
    try:
        stored = read_pixels(path)
    except ImageFileError as error:
        raise PromptError(
            f"the mask {shown} cannot be used: {error.reason}; a mask is a PNG image of the "
            "video's size"
        ) from error
    pixels = stored.values
    if pixels.ndim == 2:
        return pixels != 0
    if stored.mode in ("LA", "RGBA", "RGBA;16"):
        return pixels[..., :-1].any(axis=-1) & (pixels[..., -1] != 0)
    return np.asarray(pixels.any(axis=-1))


def mask_png(mask: np.ndarray) -> bytes:
    """Return the PNG file of a (H, W) bool mask: 8-bit grey, 255 on the object."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
