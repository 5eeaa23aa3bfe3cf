"""Damaged files: what can be read is read, and what was lost is said."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest

import surgsam2
from surgsam2.errors import VideoError
from tests.conftest import moving_picture
from tests.video.helpers import (
    blank,
    number_in,
    numbers,
    packets_of,
    write_video,
    x264,
)

BIG = {"size": (320, 240), "codec": "mpeg4", "options": {"g": "10", "bf": "2", "b": "2M"}}


def cut(path: Path, packet: int) -> Path:
    """End the file in the middle of this packet."""
    position, size = packets_of(path)[packet]
    path.write_bytes(path.read_bytes()[: position + size // 2])
    return path


def reads(video: surgsam2.video.Video) -> list[int]:
    """The numbers of all frames, after checking that every way of reading agrees."""
    forward = [(i, number_in(f)) for i, f in video.frames()]
    assert len(forward) == video.frame_count
    assert [(i, number_in(f)) for i, f in video.frames(reverse=True)] == forward[::-1]
    assert number_in(video[-1]) == forward[-1][1]
    with pytest.raises(IndexError):
        video[video.frame_count]
    assert len(video.timestamps) == video.frame_count
    return [n for _, n in forward]


def test_a_cut_mp4_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "cut.mp4",
        100,
        **{**BIG, "options": {"g": "10", "b": "2M"}},
        container_options={"movflags": "faststart"},
    )
    cut(path, 72)
    with surgsam2.open_video(path) as video:
        assert video.frame_count == 72  # at opening: the packet that is cut does not count
        assert any("decoded 72 of 100 frames" in w for w in video.warnings)
        assert reads(video) == list(range(72))


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_a_cut_file_without_its_index(tmp_path: Path, suffix: str) -> None:
    path = cut(write_video(tmp_path / f"cut.{suffix}", 100, **BIG), 60)
    with surgsam2.open_video(path) as video:
        assert 58 <= video.frame_count <= 61
        assert any("cut off or damaged" in w for w in video.warnings)
        assert reads(video)[:58] == list(range(58))


def test_a_cut_fragmented_mp4(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "cut.mp4",
        60,
        options=x264(10),
        size=(320, 240),
        container_options={"movflags": "frag_keyframe+empty_moov"},
    )
    cut(path, 35)
    with surgsam2.open_video(path) as video:
        n = video.frame_count
        assert 30 <= n <= 36
        assert reads(video)[:30] == list(range(30))


def test_a_cut_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    path = cut(write_video(tmp_path / "cut.mp4", 40, **BIG), 20)
    with pytest.raises(VideoError, match=r"cut\.mp4: not a video that can be read .*cut off"):
        surgsam2.open_video(path)


def test_frames_lost_at_the_end_are_found_while_reading(tmp_path: Path) -> None:
    path = write_video(tmp_path / "end.avi", 30, codec="mjpeg", pix_fmt="yuvj420p")
    blank(path, range(25, 30))
    with surgsam2.open_video(path) as video:
        assert video.frame_count == 30  # nothing shows in the packets
        assert numbers(video) == list(range(25))
        assert video.frame_count == 25
        assert any("decoded 25 of 30 frames" in w for w in video.warnings)
    for index in (27, 29):
        with surgsam2.open_video(path) as video:
            with pytest.raises(IndexError, match="25 frames that decode, no frame"):
                video[index]
            assert len(video) == 25
    with surgsam2.open_video(path) as video:
        assert number_in(video[-1]) == 24
    with surgsam2.open_video(path) as video:
        assert [i for i, _ in video.frames(reverse=True)] == list(range(24, -1, -1))
        assert len(video.warnings) == 1


def test_frames_lost_in_the_middle_keep_their_index(tmp_path: Path) -> None:
    path = write_video(tmp_path / "middle.avi", 30, codec="mjpeg", pix_fmt="yuvj420p")
    blank(path, [10, 11, 20])
    want = [9 if i in (10, 11) else 19 if i == 20 else i for i in range(30)]
    with surgsam2.open_video(path) as video:
        assert reads(video) == want
        assert [number_in(video[i]) for i in (20, 11, 12, 10)] == [19, 9, 12, 9]
        assert video.warnings == [
            "3 of 30 frames (first: 10) do not decode; the frame before stands in their place"
        ]


def test_frames_lost_at_the_beginning_are_left_out(tmp_path: Path) -> None:
    path = write_video(tmp_path / "begin.mkv", 30, options=x264(10, 2))
    with av.open(str(path)) as source, av.open(str(tmp_path / "late.mkv"), "w") as target:
        track = source.streams.video[0]
        copy = target.add_stream_from_template(track)
        for i, packet in enumerate(source.demux(track)):
            if i >= 4 and packet.size:
                packet.stream = copy
                target.mux(packet)
    with surgsam2.open_video(tmp_path / "late.mkv") as video:
        assert video.frame_count == 20
        assert reads(video) == list(range(10, 30))
        assert video.time_of(0) == 0.0
        assert any("do not begin" in w or "does not begin" in w for w in video.warnings)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["bits.mp4", "bits.mkv", "bits.avi"])
def test_flipped_bits_never_stop_an_iteration(tmp_path: Path, name: str, seed: int) -> None:
    options = {"codec": "mpeg4", "options": {"g": "10", "b": "1M"}}
    path = write_video(
        tmp_path / name, 30, size=(128, 96), **(options if "avi" in name else {"options": x264(10)})
    )
    data = bytearray(path.read_bytes())
    spots = packets_of(path)
    chance = random.Random(seed)
    for _ in range(12):
        position, size = chance.choice(spots[1:])
        data[position + chance.randrange(size)] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    try:
        video = surgsam2.open_video(path)
    except VideoError:
        return  # the damage reached the first frame or the container itself
    with video:
        seen = [i for i, _ in video.frames()]
        assert seen == list(range(video.frame_count))
        assert [i for i, _ in video.frames(reverse=True)] == seen[::-1]
        for i in (0, len(seen) // 2, len(seen) - 1):
            assert video[i].shape == (96, 128, 3)


def test_sound_files_have_no_warnings(a_short_video: Path) -> None:
    with surgsam2.open_video(a_short_video) as video:
        assert reads(video) == list(range(40))
        assert video.warnings == []


@pytest.mark.parametrize("share", [0.15, 0.5, 0.8])
def test_concealed_frames_do_not_depend_on_where_decoding_begins(
    tmp_path: Path, share: float
) -> None:
    """A run that is resumed after a damaged key frame sees the frames of an uninterrupted one."""
    pictures = moving_picture(40, 160, 120)
    path = write_video(
        tmp_path / "clip.mp4",
        40,
        size=(160, 120),
        options=x264(10),
        frame=lambda i: av.VideoFrame.from_ndarray(pictures[i], format="rgb24"),
    )
    data = bytearray(path.read_bytes())
    position, size = packets_of(path)[20]
    data[position + int(size * share) : position + size] = bytes(size - int(size * share))
    path.write_bytes(data)
    with surgsam2.open_video(path) as video:
        whole = dict(video.frames())
        assert "1 of 40 frames (first: 20) are damaged" in video.warnings[0]
    for start in (20, 23, 29):
        with surgsam2.open_video(path) as video:
            part = dict(video.frames(start, 32))
            single = video[start]
        assert np.array_equal(single, whole[start])
        assert all(np.array_equal(frame, whole[index]) for index, frame in part.items())
