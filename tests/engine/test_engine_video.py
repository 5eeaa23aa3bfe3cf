"""A video that the engine process decodes for an application whose Python cannot."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import surgsam2
from surgsam2.engine import EngineClient
from surgsam2.engine.client.engine_process import EngineProcess
from surgsam2.engine.client.engine_video import EngineVideo, open_in_engine
from surgsam2.errors import InputError, VideoError
from tests.conftest import moving_picture

FRAMES = 30


def write_mp4(path: Path, pictures: np.ndarray) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def a_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vidéo ü") / "clip Ω.mp4"
    write_mp4(path, moving_picture(FRAMES, 160, 120))
    return path


@pytest.fixture(scope="module")
def video(a_file: Path) -> Iterator[EngineVideo]:
    with open_in_engine(EngineClient(), a_file) as opened:
        assert isinstance(opened, EngineVideo)
        yield opened


@pytest.fixture(scope="module")
def frames(a_file: Path) -> np.ndarray:
    with surgsam2.open_video(a_file) as here:
        return np.stack(list(here))


def test_it_reads_as_if_it_were_decoded_here(
    video: EngineVideo, a_file: Path, frames: np.ndarray
) -> None:
    with surgsam2.open_video(a_file) as here:
        for name in ("width", "height", "fps", "frame_count"):
            assert getattr(video, name) == getattr(here, name), name
        assert np.array_equal(np.stack(list(video)), frames)
        assert np.array_equal(video.timestamps, here.timestamps)
        indices, part = zip(*video.sampled(3, 20, 5, 0.5), strict=True)
        expected = list(here.sampled(3, 20, 5, 0.5))
    assert list(indices) == [index for index, _ in expected] == [3, 8, 13, 18]
    assert part[0].shape == (60, 80, 3)
    assert all(np.array_equal(a, b) for a, (_, b) in zip(part, expected, strict=True))
    assert np.array_equal(video[-1], frames[-1])
    backwards = list(video.frames(4, 7, reverse=True))
    assert [index for index, _ in backwards] == [6, 5, 4]
    assert np.array_equal(backwards[0][1], frames[6])


def test_a_reading_that_is_left_is_cancelled(video: EngineVideo, frames: np.ndarray) -> None:
    with closing(video.sampled()) as reading:
        assert next(reading)[0] == 0
    assert np.array_equal(video[12], frames[12])


def test_one_reading_at_a_time(video: EngineVideo) -> None:
    first = video.sampled()
    next(first)
    assert video[20].any()
    with pytest.raises(VideoError, match="another reading"):
        list(first)


def test_the_engine_waits_for_the_application(video: EngineVideo, frames: np.ndarray) -> None:
    """More frames than there are slots are read one by one and kept; none is overwritten."""
    kept = [frame for _, frame in video.sampled(0, None, 1, 1.0)]
    assert len(kept) == FRAMES
    assert all(np.array_equal(a, b) for a, b in zip(kept, frames, strict=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0, None, 0, 1.0), "stride"), ((0, None, 1, 0.0), "scale"), ((-1,), "negative")],
)
def test_what_is_not_possible(video: EngineVideo, arguments: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(video.sampled(*arguments))
    assert video[0].any()


def test_no_video_and_giving_up(tmp_path: Path, a_file: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 99)
    client = EngineClient()
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        open_in_engine(client, broken)
    assert not client.alive
    with pytest.raises(VideoError, match="stopped"):
        open_in_engine(client, a_file, stopped=lambda: True)
    assert not client.alive


def test_the_process_ends_with_the_video(a_file: Path) -> None:
    client = EngineClient()
    video = open_in_engine(client, a_file)
    reading = video.sampled()
    next(reading)
    assert isinstance(client.transport, EngineProcess)
    os.kill(client.transport.pid, signal.SIGKILL)
    with pytest.raises(VideoError, match="open it again"):
        list(reading)
    video.close()
    assert not client.alive
    with pytest.raises(VideoError, match="closed"):
        video[0]
