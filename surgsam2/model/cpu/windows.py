"""Tokens of a feature map in the order of attention windows.

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
    """Windows of the same size, one after another."""

    first: int
    """Index of the first token."""
    windows: int
    rows: int
    columns: int

    @property
    def tokens(self) -> slice:
        """Where the group's tokens are."""
        return slice(self.first, self.first + self.windows * self.rows * self.columns)


@dataclass(frozen=True)
class Windows:
    """The order: full windows, those at the right edge, at the lower edge, in the corner."""

    height: int
    width: int
    size: int

    @property
    def even(self) -> bool:
        """Whether 2x2 pooling stays within windows."""
        return not (self.height % 2 or self.width % 2 or self.size % 2)

    def halved(self) -> Windows:
        """After 2x2 pooling; the tokens stay in order."""
        return Windows(self.height // 2, self.width // 2, self.size // 2)

    def groups(self) -> list[Group]:
        """The groups that are not empty."""
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
def order(windows: Windows) -> torch.Tensor:
    """(height * width,) int64: position on the map, row by row, of each token."""
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
def back(windows: Windows) -> torch.Tensor:
    """(height * width,) int64: index of the token of each position; undoes `order`."""
    return order(windows).argsort()


@lru_cache(maxsize=32)
def change(old: Windows, new: Windows) -> torch.Tensor:
    """(height * width,) int64: index in the old order of each token of the new one."""
    return back(old)[order(new)]
