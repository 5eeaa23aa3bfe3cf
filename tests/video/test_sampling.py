"""A part of a video, made smaller."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import surgsam2
from surgsam2.errors import InputError, MissingDependencyError
from tests.conftest import moving_picture


@pytest.fixture
def frames() -> np.ndarray:
    return moving_picture(10, 64, 48)


def test_every_third_frame_of_a_range(frames: np.ndarray) -> None:
    with surgsam2.open_video(frames) as video:
        read = list(video.sampled(1, 9, 3))
    assert [index for index, _ in read] == [1, 4, 7]
    assert all(np.array_equal(frame, frames[index]) for index, frame in read)


def test_frames_become_smaller_but_never_nothing(frames: np.ndarray) -> None:
    with surgsam2.open_video(frames) as video:
        half = [frame for _, frame in video.sampled(scale=0.5)]
        tiny = next(iter(video.sampled(scale=0.001)))[1]
    assert {frame.shape for frame in half} == {(24, 32, 3)}
    assert tiny.shape == (1, 1, 3)
    mean = frames[0].reshape(24, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(half[0] - mean).max() <= 1


@pytest.mark.parametrize(
    "options", [{"stride": 0}, {"scale": 0}, {"scale": 1.5}, {"scale": float("nan")}]
)
def test_what_is_not_possible_is_refused_at_once(frames: np.ndarray, options: dict) -> None:
    with surgsam2.open_video(frames) as video, pytest.raises(InputError, match=next(iter(options))):
        video.sampled(**options)


def test_a_missing_package_is_named(frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with surgsam2.open_video(frames) as video:
        assert len(list(video.sampled())) == 10
        with pytest.raises(MissingDependencyError, match="cv2"):
            list(video.sampled(scale=0.5))
