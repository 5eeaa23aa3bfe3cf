"""Files with several video tracks, and containers without timestamps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import surgsam2
from surgsam2.errors import VideoError
from tests.video.helpers import number_in, numbers, picture, write_video


def two_tracks(path: Path, sizes: list[tuple[int, int]], default: int | None) -> Path:
    """Write a file with a track of each size; frames of track k show 10 k and following."""
    with av.open(str(path), "w") as container:
        streams = []
        for width, height in sizes:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.bit_rate = 2_000_000
            streams.append(stream)
        for k, stream in enumerate(streams):
            stream.disposition = 1 if k == default else 0
        for i in range(5):
            for k, stream in enumerate(streams):
                image = picture(10 * k + i, stream.width, stream.height)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("sizes", "default", "chosen"),
    [
        ([(64, 48), (64, 48)], 1, 1),
        ([(64, 48), (128, 96)], None, 1),
        ([(128, 96), (64, 48)], 1, 1),
        ([(64, 48), (64, 48)], None, 0),
    ],
)
def test_the_default_track_is_read_and_the_others_are_named(
    tmp_path: Path, sizes: list[tuple[int, int]], default: int | None, chosen: int
) -> None:
    path = two_tracks(tmp_path / "two.mkv", sizes, default)
    with surgsam2.open_video(path) as video:
        assert video.stream == chosen
        assert number_in(video[0]) == 10 * chosen
        assert (video.width, video.height) == sizes[chosen]
        assert video.warnings[0].startswith(
            f"the file has 2 video tracks: stream {chosen} ({video.width}x{video.height}) is read; "
            f"choose another ({1 - chosen}) with --stream"
        )
    with surgsam2.open_video(path, stream=1 - chosen) as other:
        assert number_in(other[0]) == 10 * (1 - chosen)
        assert other.warnings == []
    with pytest.raises(VideoError, match="stream 5 is no video track; choose one of 0, 1"):
        surgsam2.open_video(path, stream=5)


def test_raw_containers(tmp_path: Path) -> None:
    """Files of y4m and raw MJPEG have no index."""
    write_video(tmp_path / "a.y4m", 6, codec="rawvideo")
    write_video(tmp_path / "a.mjpeg", 6, codec="mjpeg", pix_fmt="yuvj420p")
    for name in ("a.y4m", "a.mjpeg"):
        with surgsam2.open_video(tmp_path / name) as video:
            assert numbers(video) == list(range(6)), name
            assert number_in(video[4]) == 4


def with_gaps(path: Path, lost: set[int], varying: bool = False) -> Path:
    """Write 60 frames at 25 frames per second, without those lost."""
    kept = [i for i in range(60) if i not in lost]
    pts = [i * 4 + (i % 3 if varying else 0) for i in kept]
    return write_video(path, len(kept), pts=pts, time_base=Fraction(1, 100))


def test_missing_frames_are_counted_and_the_rate_is_kept(tmp_path: Path) -> None:
    path = with_gaps(tmp_path / "gaps.mkv", {20, 21, 22, 40})
    with surgsam2.open_video(path) as video:
        assert video.fps == 25
        assert video.warnings == [
            "4 frames are missing in 2 places (first: after frame 19): the times of the frames "
            "jump there"
        ]
        assert np.isclose(video.time_of(20) - video.time_of(19), 0.16, atol=0.002)
    with surgsam2.open_video(with_gaps(tmp_path / "varying.mkv", {20}, varying=True)) as video:
        assert video.warnings == []
