"""Means and maxima over squares are those of the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from surgsam2.model.squares import square_max, square_mean


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_each_pixel_gets_the_mean_and_the_largest_value_of_its_square(radius: int) -> None:
    """Edges are repeated for means, which changes no maximum either."""
    maps = torch.randn(2, 3, 6, 9, generator=torch.Generator().manual_seed(radius))
    around = ((0, 0), (0, 0), (radius, radius), (radius, radius))
    wide, side = np.pad(maps.numpy(), around, mode="edge"), 2 * radius + 1
    squares = np.lib.stride_tricks.sliding_window_view(wide, (side, side), axis=(2, 3))
    np.testing.assert_allclose(square_mean(maps, radius), squares.mean(axis=(4, 5)), atol=1e-6)
    np.testing.assert_array_equal(square_max(maps, radius), squares.max(axis=(4, 5)))
