"""Clips from stills, and regions that stand in for objects."""

from __future__ import annotations

import numpy as np
import pytest

from surgsam2.data.regions import colour_regions
from surgsam2.data.warped import warped_clip


def a_still(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A red square on grey, larger with the index."""
    image = np.full((120, 160, 3), 90, np.uint8)
    labels = np.zeros((120, 160), np.uint8)
    square = slice(30, 70 + 5 * index)
    image[square, square] = (200, 30, 30)
    labels[square, square] = 5
    return image, labels


def test_a_clip_follows_from_its_seed() -> None:
    first = warped_clip(a_still, 3, 7, 5, 96)
    again = warped_clip(a_still, 3, 7, 5, 96)
    other = warped_clip(a_still, 3, 8, 5, 96)
    assert first[0].shape == (5, 96, 96, 3)
    assert first[1].shape == (5, 96, 96)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("seed", range(6))
def test_labels_move_with_the_image(seed: int) -> None:
    frames, labels = warped_clip(a_still, 3, seed, 5, 96)
    assert set(np.unique(labels)) <= {0, 1, 2, 3, 200}
    for frame, label in zip(frames.astype(int), labels, strict=True):
        inside = label == 1
        if inside.sum() > 200:
            redness = frame[..., 0] - frame[..., 1]
            assert np.median(redness[inside]) > np.median(redness[label == 0]) + 20


def test_generated_instruments_move_in_front_of_the_image() -> None:
    shown, moved = 0, 0
    for seed in range(4):
        frames, labels = warped_clip(a_still, 3, seed, 4, 96, instruments=1.0)
        again = warped_clip(a_still, 3, seed, 4, 96, instruments=1.0)
        assert np.array_equal(frames, again[0])
        assert np.array_equal(labels, again[1])
        assert 200 not in labels
        own = labels > 100
        shown += own.any()
        moved += any(not np.array_equal(own[0], later) for later in own[1:])
    assert shown >= 2
    assert moved >= 2


def test_regions_are_connected_and_follow_colours() -> None:
    image, truth = a_still(4)
    labels = colour_regions(image, 3)
    assert labels.shape == truth.shape
    assert np.array_equal(labels, colour_regions(image, 3))
    areas = [np.count_nonzero(labels == i) for i in range(1, labels.max() + 1)]
    assert areas
    assert all(area > 0 for area in areas)
    for number in range(1, labels.max() + 1):
        inside = truth[labels == number] == 5
        assert max(inside.mean(), 1 - inside.mean()) > 0.85
