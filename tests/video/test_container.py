"""Video files: every way of reading gives the same, exact frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import surgsam2
from surgsam2.video import container as container_module
from tests.video.helpers import RATE, number_in, numbers, picture, turn, write_video, x264

CASES = {
    "b-frames.mp4": {"options": x264(10, 3)},
    "open-gop.mp4": {"options": x264(10, 3, ":open-gop=1")},
    "open-gop.mkv": {"options": x264(10, 3, ":open-gop=1")},
    "one-gop.mkv": {"options": x264(250, 2)},
    "all-key.mov": {"options": x264(1)},
    "intra-refresh.mkv": {"options": x264(10, 0, ":intra-refresh=1")},
    "plain.avi": {"codec": "mpeg4", "options": {"g": "10", "b": "800k"}},
    "b-frames.avi": {"codec": "mpeg4", "options": {"g": "10", "bf": "2", "b": "800k"}},
    "wrong-times.avi": {"options": x264(10, 2)},
    "motion.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "vp8.webm": {
        "codec": "libvpx",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "600k", "g": "20"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "g": "15", "b": "600k"}},
    "hevc.mp4": {
        "codec": "libx265",
        "options": {"preset": "ultrafast", "x265-params": "keyint=12:pools=1:log-level=none"},
    },
    "fragmented.mp4": {
        "options": x264(10, 2),
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "late-start.mkv": {"options": x264(10, 2), "pts": range(500, 540)},
    "late-start.mp4": {"options": x264(10, 2), "pts": range(500, 540)},
    "odd.mkv": {"codec": "ffv1", "size": (67, 51)},
    "stream.ts": {"codec": "mpeg2video", "options": {"g": "10", "bf": "2", "b": "800k"}},
}
COUNT = 40


@pytest.fixture(params=CASES)
def a_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_video(tmp_path / request.param, COUNT, **CASES[request.param])


def test_every_way_of_reading_gives_the_numbered_frame(a_file: Path) -> None:
    with surgsam2.open_video(a_file) as video:
        assert video.frame_count == len(video) == COUNT
        assert video.fps == pytest.approx(RATE, rel=0.01)
        assert numbers(video) == list(range(COUNT))
        assert [(i, number_in(f)) for i, f in video.frames(7, 23)] == [(i, i) for i in range(7, 23)]
        backward = [(i, number_in(f)) for i, f in video.frames(3, reverse=True)]
        assert backward == [(i, i) for i in range(COUNT - 1, 2, -1)]
        jumps = [25, 26, 24, 0, 39, 10, 9, 11, 38, 19, 20, 1, -1, -40]
        assert [number_in(video[i]) for i in jumps] == [i % COUNT for i in jumps]
        np.testing.assert_allclose(video.timestamps, np.arange(COUNT) / RATE, atol=0.002)


def test_reading_is_the_same_in_pixels_whatever_the_order(a_short_video: Path) -> None:
    with av.open(str(a_short_video)) as container:
        plain = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    with surgsam2.open_video(a_short_video) as video:
        frames = list(video)
        assert len(frames) == len(plain)
        for i, frame in video.frames(reverse=True):
            np.testing.assert_array_equal(frame, frames[i])
        for i in (33, 5, 6, 39, 12, 11):
            np.testing.assert_array_equal(video[i], frames[i])


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(indices=st.lists(st.integers(-COUNT, COUNT - 1), min_size=1, max_size=12))
@pytest.mark.parametrize("name", ["open-gop.mp4", "b-frames.avi", "wrong-times.avi"])
def test_random_access_is_exact(
    name: str, indices: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"random-{name}"
    if not path.exists():
        write_video(path, COUNT, **CASES[name])
    with surgsam2.open_video(path) as video:
        assert [number_in(video[i]) for i in indices] == [i % COUNT for i in indices]


@settings(max_examples=15)
@given(start=st.integers(0, 45), stop=st.none() | st.integers(0, 45), reverse=st.booleans())
def test_ranges_are_python_ranges(
    tmp_path_factory: pytest.TempPathFactory, start: int, stop: int | None, reverse: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "ranges.mp4"
    if not path.exists():
        write_video(path, COUNT, options=x264(10, 2))
    with surgsam2.open_video(path) as video:
        got = [(i, number_in(f)) for i, f in video.frames(start, stop, reverse)]
    want = [(i, i) for i in range(COUNT)[start:stop]]
    assert got == (want[::-1] if reverse else want)


def test_backward_reading_holds_few_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "one-gop.mp4", COUNT, options=x264(250, 2))
    monkeypatch.setattr(container_module, "BACKWARD_BYTES", 0)
    with surgsam2.open_video(path) as video:
        most = 0
        whole = video._filled

        def counted(decoder, start, stop, cancelled, lead=0):
            nonlocal most
            most = max(most, stop - start)
            return whole(decoder, start, stop, cancelled, lead)

        monkeypatch.setattr(video, "_filled", counted)
        assert [i for i, _ in video.frames(reverse=True)] == list(range(COUNT - 1, -1, -1))
    assert most == container_module._BACKWARD_FEWEST


def test_forward_reading_decodes_every_packet_once(
    a_short_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = container_module.Decoder
    seeks, whole = [], decoder._seek
    monkeypatch.setattr(decoder, "_seek", lambda self, key: seeks.append(key) or whole(self, key))
    with surgsam2.open_video(a_short_video) as video:
        assert len(list(video)) == COUNT
        assert len(seeks) == 1
        seeks.clear()
        for i in range(20, 30):
            video[i]
        assert len(seeks) == 1
        seeks.clear()
        for i in (28, 27, 26, 25):  # kept from before
            video[i]
        assert seeks == []


def test_varying_frame_rate(tmp_path: Path) -> None:
    pts = np.cumsum([0, *([40, 200, 33, 67, 1000] * 8)])[:40].tolist()
    path = write_video(
        tmp_path / "vfr.mkv", 40, options=x264(10, 2), pts=pts, time_base=Fraction(1, 1000)
    )
    with surgsam2.open_video(path) as video:
        np.testing.assert_allclose(video.timestamps, np.array(pts) / 1000, atol=0.0011)
        assert video.time_of(-1) == pytest.approx(pts[-1] / 1000)
        assert video.fps == pytest.approx(39 / (pts[-1] / 1000), rel=0.01)
        assert numbers(video) == list(range(40))
        assert [number_in(video[i]) for i in (31, 2, 39, 15)] == [31, 2, 39, 15]
        assert video.warnings == []


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # a phone held upright
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_frames_come_out_upright(tmp_path: Path, matrix, upright, suffix: str) -> None:
    path = write_video(tmp_path / f"turned.{suffix}", 12, options=x264(5, 2))
    with surgsam2.open_video(path) as video:
        stored = list(video)
    turn(path, *matrix)
    with surgsam2.open_video(path) as video:
        want = upright(stored[7])
        assert (video.height, video.width) == want.shape[:2]
        np.testing.assert_array_equal(video[7], want)
        assert video[7].flags.c_contiguous
        assert all(frame.shape == want.shape for frame in video)


def test_a_frame_belongs_to_the_caller(tmp_path: Path) -> None:
    for name, codec, pix_fmt in (("a.mp4", "libx264", "yuv420p"), ("b.avi", "rawvideo", "rgb24")):
        path = write_video(tmp_path / name, 4, codec=codec, pix_fmt=pix_fmt)
        with surgsam2.open_video(path) as video:
            frame = video[2]
            assert frame.dtype == np.uint8
            assert frame.shape == (48, 64, 3)
            assert frame.flags.c_contiguous
            assert frame.flags.writeable
            frame[:] = 0
            assert number_in(video[2]) == 2


def test_the_end_of_the_range(a_short_video: Path) -> None:
    with surgsam2.open_video(a_short_video) as video:
        with pytest.raises(IndexError, match="has 40 frames, no frame 40"):
            video[40]
        with pytest.raises(IndexError):
            video[-41]
        with pytest.raises(IndexError):
            video.time_of(40)
        with pytest.raises(surgsam2.errors.InputError, match=r"use video\.frames"):
            video[2:5]
        with pytest.raises(surgsam2.errors.InputError, match="must not be negative"):
            video.frames(-1)
        assert list(video.frames(40)) == []


def test_a_picture_track_beside_sound(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=44100)
        track = container.add_stream("mpeg4", rate=RATE)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for i in range(60):
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            noise.sample_rate, noise.pts = 44100, i * 1024
            container.mux(sound.encode(noise))
        for i in range(10):
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(track.encode())
        container.mux(sound.encode())
    with surgsam2.open_video(path) as video:
        assert numbers(video) == list(range(10))
        assert video.warnings == []


def test_a_size_that_changes_on_the_way(tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.ts", 20, options=x264(10))
    large = write_video(tmp_path / "b.ts", 20, options=x264(10), size=(128, 96), pts=range(20, 40))
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with surgsam2.open_video(path) as video:
        assert {frame.shape for frame in video} == {(48, 64, 3)}
        assert numbers(video)[:20] == list(range(20))
        assert any("change size" in w for w in video.warnings)


def test_the_real_clip() -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "cholecystectomy_10s.mp4"
    if not path.is_file():
        pytest.skip("the clip ../shared/data/cholecystectomy_10s.mp4 is not on this machine")
    with surgsam2.open_video(path) as video:
        assert (video.width, video.height, video.fps, video.frame_count) == (1280, 720, 25.0, 250)
        assert video.warnings == []
        frames = dict(video.frames(95, 105))
        for i, frame in video.frames(95, 105, reverse=True):
            np.testing.assert_array_equal(frame, frames[i])
        np.testing.assert_array_equal(video[101], frames[101])
        assert video[0][:40, :40].max() < 30  # the corner outside the endoscope's view
