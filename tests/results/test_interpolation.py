"""Masks between two masks."""

from __future__ import annotations

import numpy as np

from surgsam2.results.interpolation import interpolate_masks


def disc(x: float, y: float, radius: float) -> np.ndarray:
    """Return a disc on a frame of 120 x 160 pixels, (H, W) bool."""
    rows, columns = np.mgrid[:120, :160]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    return np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth)


def test_the_ends_are_the_masks_themselves() -> None:
    first, last = disc(30, 40, 11), disc(110, 70, 23)
    assert np.array_equal(interpolate_masks(first, last, 0), first)
    assert np.array_equal(interpolate_masks(first, last, 1), last)


def test_a_disc_moves_and_grows_evenly() -> None:
    first, last = disc(30, 40, 10), disc(110, 80, 30)
    for share in (0.25, 0.5, 0.75):
        truth = disc(30 + 80 * share, 40 + 40 * share, 10 + 20 * share)
        assert overlap(interpolate_masks(first, last, share), truth) > 0.95


def test_single_pixels_do_not_vanish() -> None:
    first, last = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    first[1, 1], last[7, 7] = True, True
    assert interpolate_masks(first, last, 0.5)[4, 4]


def test_a_mask_at_the_edge_stays_there() -> None:
    first = np.zeros((40, 40), bool)
    first[:, :10] = True
    assert np.array_equal(interpolate_masks(first, first, 0.3), first)
