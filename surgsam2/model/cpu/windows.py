"""The order of a feature map's tokens by attention windows.

Hiera attends within square windows. Where they do not divide the map, `sam2` pads it: at
512 pixels its third stage is 32x32 with windows of 14, and 1,764 tokens are computed
instead of 1,024. Here the windows at the right and lower edge are smaller, and the tokens
of a window lie together, so that a stage orders them once instead of in every block.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch


class Group(NamedTuple):
    """Windows of one size whose tokens follow each other."""

    first: int
    """Index of the first token."""
    windows: int
    """Number of windows."""
    rows: int
    """Height of a window in tokens."""
    columns: int
    """Width of a window in tokens."""

    @property
    def tokens(self) -> slice:
        """Indices of the group's tokens."""
        return slice(self.first, self.first + self.windows * self.rows * self.columns)


@dataclass(frozen=True)
class Windows:
    """A map divided into windows, and the order of its tokens.

    The full windows come first, then those at the right edge, those at the lower edge, and the
    one in the corner.
    """

    height: int
    """Height of the map in tokens."""
    width: int
    """Width of the map in tokens."""
    size: int
    """Side of a full window in tokens."""

    @property
    def even(self) -> bool:
        """Whether pooling of 2x2 tokens stays within windows."""
        return not (self.height % 2 or self.width % 2 or self.size % 2)

    def halved(self) -> Windows:
        """Return the windows after pooling of 2x2 tokens, which keeps the order."""
        return Windows(self.height // 2, self.width // 2, self.size // 2)

    def groups(self) -> list[Group]:
        """Return the groups of windows that are not empty."""
        down, low = divmod(self.height, self.size)
        across, narrow = divmod(self.width, self.size)
        shapes = [
            (down * across, self.size, self.size),
            (down, self.size, narrow),
            (across, low, self.size),
            (1, low, narrow),
        ]
        groups, first = [], 0
        for windows, rows, columns in shapes:
            if windows * rows * columns:
                groups.append(Group(first, windows, rows, columns))
                first += windows * rows * columns
        return groups


@lru_cache(maxsize=32)
def window_order(windows: Windows) -> torch.Tensor:
    """Return the row-major position on the map of each token: (height * width,) int64."""
    height, width, size = windows.height, windows.width, windows.size
    down, across = height // size * size, width // size * size
    positions = torch.arange(height * width).view(height, width)
    parts = []
    for rows in (slice(0, down), slice(down, height)):
        for columns in (slice(0, across), slice(across, width)):
            block = positions[rows, columns]
            if block.numel():
                tall, wide = min(size, block.shape[0]), min(size, block.shape[1])
                split = block.unflatten(0, (-1, tall)).unflatten(2, (-1, wide))
                parts.append(split.transpose(1, 2).flatten())
    return torch.cat(parts)


@lru_cache(maxsize=32)
def row_order(windows: Windows) -> torch.Tensor:
    """Return the token index of each row-major position; the inverse of `window_order`."""
    return window_order(windows).argsort()


@lru_cache(maxsize=32)
def change_order(old: Windows, new: Windows) -> torch.Tensor:
    """Return the index in the old order of each token of the new one: (height * width,) int64."""
    return row_order(old)[window_order(new)]
