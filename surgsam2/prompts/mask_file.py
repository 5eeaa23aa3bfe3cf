"""Mask images: PNG files with the pixels of one object, or with a label for each object."""

from __future__ import annotations

import unicodedata
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.errors import ImageFileError, PromptError
from surgsam2.prompts.checks import checked_color, one_line, show
from surgsam2.storage.mask_values import (
    BRIGHT,
    VOID,
    UnclearMaskError,
    has_void,
    mask_values,
    palette_labels,
)

if TYPE_CHECKING:
    from surgsam2.storage.image_file import StoredPixels


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


def checked_choice(value: Any) -> int | str:
    """Return what a prompt file gives as the value of the object in a mask image.

    Raises:
        PromptError: it is no whole number, no colour and not the word `BRIGHT`.
    """
    if value == BRIGHT:
        return BRIGHT
    if isinstance(value, str) and value.startswith("#"):
        return checked_color(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise PromptError(
            f"must be a whole number from 0 to 65535, a colour such as '#ff0000', or '{BRIGHT}', "
            f"got {show(value)}"
        )
    return value


def read_mask(folder: Path, relative: str, choice: int | str | None = None) -> np.ndarray:
    """Read a mask image.

    Args:
        folder: the folder of the prompt file.
        relative: the path of the PNG file, from there.
        choice: the value of the object's pixels, from `checked_choice`; None for an image with a
            background and one object.

    Returns:
        (H, W) bool: the object. Black pixels, pixels of value 0 and transparent pixels are not
        part of it.

    Raises:
        PromptError: there is no such file, it cannot be read as PNG, it is a link that leaves
            the folder, or its values do not tell which pixels are the object.
    """
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
    stored = _pixels(path, shown)
    try:
        return mask_values(stored).mask(choice)
    except UnclearMaskError as error:
        raise PromptError(
            f"it is not clear which pixels of the mask {shown} are the object: {error}; choose "
            'with "mask_value" beside "mask": one of these values, or '
            f'"{BRIGHT}" for the brighter half (remains of JPEG compression, soft edges); or '
            "give an image with a label for each object as the prompts (--prompts FILE.png)"
        ) from error


def read_labels(path: Path) -> np.ndarray:
    """Read an image with a label for each object.

    Palette images have their values as labels. In grey images the labels are the values 1, 2, 3
    and so on, or any values of 16 bits; a black and white image has one object, which is 1.

    Returns:
        (H, W) integers; 0 is the background. The value 255 of DAVIS, which belongs to no object,
        is 0 too.

    Raises:
        PromptError: the file cannot be read as PNG, or its values may be no labels.
    """
    stored = _pixels(path, show(path.name))
    meaning = mask_values(stored)
    ids = meaning.objects
    if stored.mode == "P" and (meaning.has_palette or len(meaning.found) <= 2):
        labels = palette_labels(stored)
        void = has_void(np.unique(labels).tolist())
        return np.where(labels == VOID, 0, labels) if void else labels
    if ids == [meaning.limit]:
        return (meaning.values != 0).astype(np.uint8)
    wide = meaning.limit > VOID and meaning.limit not in ids
    if meaning.coloured or not (len(ids) <= 1 or wide or ids == list(range(1, len(ids) + 1))):
        raise PromptError(
            f"it is not clear whether the pixels are labels of objects: the image has "
            f"{meaning.listed()}; save it with a palette if each value is an object, in black and "
            "white if there is one object, or name it as the mask of an object in a prompt file "
            '(JSON), with "mask_value"'
        )
    return meaning.values


def _pixels(path: Path, shown: str) -> StoredPixels:
    from surgsam2.storage.image_file import read_pixels

    try:
        return read_pixels(path)
    except ImageFileError as error:
        raise PromptError(
            f"the mask {shown} cannot be used: {error.reason}; a mask is a PNG image of the "
            "video's size"
        ) from error


def mask_png(mask: np.ndarray) -> bytes:
    """Return the PNG file of a (H, W) bool mask: 8-bit grey, 255 on the object."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
