"""What the values of a mask image mean: which pixels are an object, or which object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from surgsam2.storage.image_file import StoredPixels

BRIGHT = "bright"
"""The choice of the pixels in the brighter half of the range of values."""
VOID = 255
"""Value of label pixels that DAVIS leaves undecided."""
_SHOWN = 6
"""Largest number of values that a message lists."""


class UnclearMaskError(ValueError):
    """A mask image can be read in several ways; the message lists its values."""


@dataclass(frozen=True)
class MaskValues:
    """The values of a mask image, of which 0 is the background if it occurs."""

    values: np.ndarray
    """(H, W) integers: ids, brightnesses, or colours as 0xrrggbb if `coloured` is set."""
    found: np.ndarray
    """The values that occur, ascending."""
    coloured: bool = False
    """Whether values are colours."""
    limit: int = 255
    """The largest brightness."""
    has_palette: bool = False
    """Whether a palette of colours marks the values as labels."""

    @property
    def objects(self) -> list[int]:
        """The values that are not background, ascending."""
        return [int(value) for value in self.found if value]

    def mask(self, choice: int | str | None = None) -> np.ndarray:
        """Return which pixels are the object.

        Args:
            choice: a value, a colour as ``#rrggbb``, or `BRIGHT`; None takes all pixels that are
                not background, of which there may be one kind only.

        Returns:
            (H, W) bool.

        Raises:
            UnclearMaskError: there is no choice, and the values do not tell; or the choice does
                not fit the image.
        """
        if choice is None:
            if len(self.found) > 2 or (len(self.found) == 2 and self.found[0]):
                raise UnclearMaskError(f"it has {self.listed()}")
            return np.asarray(self.values != 0)
        if isinstance(choice, str) and choice != BRIGHT:
            if not self.coloured:
                raise UnclearMaskError(f"it is not an image in colours, it has {self.listed()}")
            return np.asarray(self.values == int(choice[1:], 16))
        if self.coloured:
            raise UnclearMaskError(f"it is an image in colours, it has {self.listed()}")
        if choice == BRIGHT:
            return np.asarray(self.values > self.limit // 2)
        return np.asarray(self.values == choice)

    def listed(self) -> str:
        """Return the values in words."""
        kind = "colours" if self.coloured else "values"
        shown = [f"#{v:06x}" if self.coloured else str(v) for v in self.found[:_SHOWN].tolist()]
        more = len(self.found) - _SHOWN
        return f"the {kind} {', '.join(shown)}" + (f" and {more} more" if more > 0 else "")


def mask_values(stored: StoredPixels) -> MaskValues:
    """Return the values of a mask image, whatever its mode. Pixels that cannot be seen are 0."""
    if stored.mode == "P":
        values, is_grey = _of_palette(stored)
        return MaskValues(values, _found(values), has_palette=not is_grey)
    pixels = stored.values
    if pixels.ndim == 2:
        wide = pixels.dtype.itemsize > 1
        values = pixels.astype(np.int32 if wide else np.uint8, copy=False)
        limit = 1 if pixels.dtype == np.bool_ else 65535 if wide else 255
        return MaskValues(values, _found(values), limit=limit)
    seen = np.ones(pixels.shape[:2], bool)
    if stored.mode in ("LA", "RGBA", "RGBA;16"):
        pixels, seen = pixels[..., :-1], pixels[..., -1] != 0
    limit = 65535 if pixels.dtype.itemsize > 1 else 255
    if (pixels == pixels[..., :1]).all():
        values = np.where(seen, pixels[..., 0], 0).astype(np.int32)
        return MaskValues(values, _found(values), limit=limit)
    if limit > 255:
        pixels = pixels >> 8
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    values = np.where(seen, (red << 16) | (green << 8) | blue, 0)
    return MaskValues(values, _found(values), coloured=True)


def palette_labels(stored: StoredPixels) -> np.ndarray:
    """Return the labels of a palette image, (H, W) uint8.

    They are its values, unless it is a picture in black and white whose palette begins with
    white: then white is 1 and black, the background, is 0.
    """
    values, is_grey = _of_palette(stored)
    begins_bright = is_grey and any(stored.palette[:3])
    if begins_bright and len(found := _found(values)) == 2 and not found[0]:
        return (values != 0).astype(np.uint8)
    return stored.values.astype(np.uint8, copy=False)


def has_void(ids: Iterable[int]) -> bool:
    """Whether the value 255 among the ids of a sequence is void, as in DAVIS, and no object.

    It is void beside other ids if all of them are below it; alone it is an object.
    """
    found = set(ids) - {0}
    return VOID in found and len(found) > 1 and max(found) == VOID


def _of_palette(stored: StoredPixels) -> tuple[np.ndarray, bool]:
    """Return the values of a palette image, and whether they are brightnesses.

    They are if the colours that occur are greys and differ: such a palette shows a picture. Other
    palettes give each label a colour, and the values are the labels.
    """
    used = _found(stored.values)
    colours = np.frombuffer(stored.palette.ljust(768, b"\0")[:768], np.uint8).reshape(256, 3)
    rows = colours[used]
    is_grey = bool((rows == rows[:, :1]).all()) and len(np.unique(rows[:, 0])) == len(rows)
    return (colours[:, 0][stored.values] if is_grey else stored.values), is_grey


def _found(values: np.ndarray) -> np.ndarray:
    if values.dtype.itemsize == 1:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=1))
    return np.unique(values)
