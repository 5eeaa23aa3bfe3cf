"""Arrays in memory, and what every source has in common."""

from __future__ import annotations

import numpy as np
import pytest

import surgsam2
from surgsam2.errors import InputError
from tests.video.helpers import numbers, picture


def test_an_array_is_a_video() -> None:
    array = np.stack([picture(i) for i in range(9)])
    with surgsam2.open_video(array, fps=10) as video:
        assert (video.width, video.height, video.fps, len(video)) == (64, 48, 10.0, 9)
        assert video.source == "array"
        assert video.warnings == []
        assert "9 frames of 64x48 at 10 fps" in repr(video)
        assert numbers(video) == list(range(9))
        assert [i for i, _ in video.frames(reverse=True)] == list(range(8, -1, -1))
        np.testing.assert_array_equal(video.timestamps, np.arange(9) / 10)
        frame = video[-2]
        frame[:] = 0
        np.testing.assert_array_equal(video[7], picture(7))
        assert surgsam2.open_video(video) is video
        with pytest.raises(IndexError, match="array has 9 frames, no frame 9"):
            video[9]
        with pytest.raises(TypeError):
            video[1.5]


def test_grey_and_unordered_arrays() -> None:
    grey = np.stack([picture(i)[..., 0] for i in range(3)])
    video = surgsam2.open_video(grey)
    assert numbers(video) == [0, 1, 2]
    backwards = surgsam2.open_video(np.stack([picture(i) for i in range(3)])[::-1, :, ::-1])
    assert backwards[0].flags.c_contiguous
    np.testing.assert_array_equal(backwards[0], picture(2)[:, ::-1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4, 6, 3), np.float32), "must be uint8 .* got float32 2x4x6x3"),
        (np.zeros((2, 4, 6, 3), bool), "must be uint8"),
        (np.zeros((2, 3, 4, 6), np.uint8), "move the channels last"),
        (np.zeros((2, 4, 6, 4), np.uint8), "drop the alpha channel"),
        (np.zeros((4, 6, 3), np.uint8), "looks like one frame"),
        (np.zeros((4, 6), np.uint8), r"must be \(T, H, W, 3\) or \(T, H, W\) uint8, got 4x6"),
        (np.zeros((0, 4, 6, 3), np.uint8), "at least one frame"),
        ([np.zeros((4, 6, 3), np.uint8)], "a path .* or a numpy array .* got list"),
        (None, "got NoneType"),
    ],
)
def test_unusable_arrays_are_refused(array: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        surgsam2.open_video(array)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_unusable_rates_are_refused(fps: float) -> None:
    with pytest.raises(InputError, match="fps must be a positive number"):
        surgsam2.open_video(np.zeros((2, 4, 6, 3), np.uint8), fps=fps)
