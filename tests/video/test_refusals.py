"""What cannot be opened is refused at the door, in one line that says what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

import surgsam2
from surgsam2.errors import VideoError
from tests.video.helpers import blank, write_video, x264


def refusal(path: Path | str) -> str:
    with pytest.raises(VideoError) as caught:
        surgsam2.open_video(path)
    message = str(caught.value)
    assert "\n" not in message
    assert Path(path).name in message
    assert isinstance(caught.value, OSError)
    return message


def test_missing_and_empty(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(tmp_path / "none.mp4")
    assert "no such file or folder" in refusal("http://example.invalid/a.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert "the file is empty" in refusal(tmp_path / "empty.mp4")
    assert "cannot be opened" in refusal("a\0b.mp4")


@pytest.mark.parametrize(
    "text",
    [
        "this is a text\n" * 50,
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nshort.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile short.mp4\n",
        "<?xml version='1.0'?><MPD></MPD>",
        "\x89PNG\r\n\x1a\n",
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "avi", "m3u8", "txt", "mkv"])
def test_not_a_video(tmp_path: Path, a_short_video: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"fake.{suffix}"
    path.write_text(text, encoding="latin-1")
    message = refusal(path)
    assert "not a video" in message or "no video track" in message or "no frame" in message


def test_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for i in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 44100, i * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "no video track (it holds audio)" in refusal(path)


def test_nothing_decodes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "dead.avi", 8, codec="mjpeg", pix_fmt="yuvj420p")
    blank(path, range(8))
    assert "no frame can be decoded" in refusal(path)


def test_absurd_sizes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wide.avi", 1, codec="rawvideo", size=(16640, 2), pix_fmt="gray")
    assert "16640x2 pixels, more than 16384 a side" in refusal(path)


def test_a_name_that_looks_like_an_address(tmp_path: Path, a_short_video: Path) -> None:
    path = tmp_path / "tcp:odd %d?name.mp4"
    shutil.copy(a_short_video, path)
    with surgsam2.open_video(path) as video:
        assert len(list(video)) == 40


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "gone.mp4", 12, options=x264(5))
    video = surgsam2.open_video(path)
    path.unlink()
    with pytest.raises(VideoError, match=r"gone\.mp4: not found"):
        video[0]
    with pytest.raises(VideoError, match=r"gone\.mp4: not found"):
        video[1]
    with pytest.raises(VideoError, match=r"gone\.mp4: not found"):
        list(video)


def test_importing_is_light() -> None:
    code = "import surgsam2.video, sys; print('torch' in sys.modules, 'av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
