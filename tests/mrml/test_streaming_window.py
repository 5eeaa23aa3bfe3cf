"""The frames of a streamed video that are in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from surgsam2.errors import InputError, VideoError
from surgsam2.mrml.streaming import FrameWindow
from surgsam2.video import Video, open_video

COUNT, WIDTH, HEIGHT = 200, 8, 4
FRAME_BYTES = WIDTH * HEIGHT * 3
PAGE = 5


class Counted:
    """A video that counts what is read, and some of whose frames can be broken."""

    def __init__(self, video: Video) -> None:
        self._video = video
        self.read: list[int] = []
        self.broken: set[int] = set()
        self.error: type[Exception] = VideoError

    def __getitem__(self, index: int) -> np.ndarray:
        self.read.append(index)
        if index in self.broken:
            raise self.error(f"frame {index} is broken")
        return self._video[index]

    def __getattr__(self, name: str) -> object:
        return getattr(self._video, name)


@pytest.fixture
def video() -> Counted:
    frames = np.empty((COUNT, HEIGHT, WIDTH, 3), np.uint8)
    frames[:] = np.arange(COUNT)[:, None, None, None]
    return Counted(open_video(frames))


@pytest.fixture
def window(video: Counted) -> Iterator[FrameWindow]:
    made = FrameWindow(video, 4 * PAGE * FRAME_BYTES)  # type: ignore[arg-type]
    assert made.page_size == PAGE
    yield made
    made.close()


def number(window: FrameWindow, frame: int) -> int:
    pixels = window.get(frame)
    assert pixels is not None
    return int(pixels[0, 0, 0])


def test_never_holds_more_than_the_limit(window: FrameWindow) -> None:
    for frame in np.random.default_rng(1).integers(0, COUNT, 100).tolist():
        assert number(window, frame) == frame
        assert window.held_bytes <= window.limit
    assert window.settle(10)
    assert window.limit / 2 < window.held_bytes <= window.limit


def test_each_frame_is_decoded_once_in_either_direction(
    window: FrameWindow, video: Counted
) -> None:
    for frame in range(50):
        assert number(window, frame) == frame
    assert window.settle(10)
    assert video.read == list(range(55)), "and the page after the last"
    video.read.clear()
    for frame in range(199, 149, -1):
        assert number(window, frame) == frame
    assert window.settle(10)
    assert sorted(video.read) == list(range(145, 200))


def test_what_was_seen_last_is_kept(window: FrameWindow, video: Counted) -> None:
    for frame in (0, 100, 0, 50):
        number(window, frame)
        assert window.settle(10)
    video.read.clear()
    assert number(window, 3) == 3
    assert not set(video.read) & set(range(PAGE))


@pytest.mark.parametrize("error", [VideoError, OSError, MemoryError, RuntimeError])
def test_a_broken_frame_is_an_error_and_asked_for_again(
    window: FrameWindow, video: Counted, error: type[Exception]
) -> None:
    video.broken, video.error = {12}, error
    with pytest.raises(VideoError, match="frame 12 is broken"):
        window.get(12)
    assert number(window, 13) == 13, "the others of its page are there"
    video.broken = set()
    assert number(window, 12) == 12


def test_refusals(video: Counted) -> None:
    with pytest.raises(InputError, match=f"allow at least {4 * FRAME_BYTES}"):
        FrameWindow(video, 4 * FRAME_BYTES - 1)  # type: ignore[arg-type]
    window = FrameWindow(video, 4 * FRAME_BYTES)  # type: ignore[arg-type]
    assert number(window, 7) == 7
    with pytest.raises(VideoError, match="frame 200 cannot be read"):
        window.get(COUNT)
    window.close()
    window.close()
    assert window.held_frames == 0
    with pytest.raises(VideoError, match="closed"):
        window.get(7)
