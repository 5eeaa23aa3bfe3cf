"""Mask images beside a prompt file: PNG, non-zero pixels are the object."""

from __future__ import annotations

import unicodedata
import warnings
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from surgsam2.errors import InputError, PromptError
from surgsam2.prompts.checks import one_line, show
from surgsam2.storage.limits import FRAME_PIXELS


def check_mask_path(text: str) -> None:
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
    """(H, W) bool: where the PNG file is non-zero (any colour channel, not fully transparent)."""
    from PIL import Image

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=("PNG",))
        with image:
            if image.width * image.height > FRAME_PIXELS.value:
                raise PromptError(
                    f"the mask {shown} has {image.width} x {image.height} pixels, too many; a "
                    f"mask has the size of the video's frames (limit: {FRAME_PIXELS.variable})"
                )
            pixels = np.asarray(image)
            alpha = image.mode in ("LA", "RGBA")
    except Image.DecompressionBombError as error:
        raise PromptError(
            f"the mask {shown} has too many pixels; a mask has the size of the video's frames"
        ) from error
    except (PromptError, InputError):
        raise
    except Exception as error:  # a damaged file can raise anything
        raise PromptError(
            f"the mask {shown} is not a readable PNG image ({one_line(error)}); "
            f"save it as an 8-bit PNG"
        ) from error
    if pixels.ndim == 2:
        return pixels != 0
    if alpha:
        return pixels[..., :-1].any(axis=-1) & (pixels[..., -1] != 0)
    return np.asarray(pixels.any(axis=-1))


def mask_png(mask: np.ndarray) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
