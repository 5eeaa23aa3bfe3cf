"""The command that says what is in a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgsam2 import cli
from tests.video.helpers import blank, write_video, x264
from tests.video.test_streams import two_tracks


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """Return what `surgsam2 inspect` prints, by label."""
    assert cli.main(["inspect", *words]) == 0
    return {line[:12].strip(): line[13:] for line in capsys.readouterr().out.splitlines()}


def test_a_file_with_two_tracks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = two_tracks(tmp_path / "two.mkv", [(64, 48), (128, 96)], None)
    lines = printed(capsys, str(path))
    assert lines["frames"] == "5 of 128 x 96 pixels"
    assert lines["rate"] == "25 frames per second; the last frame is at 0.160 s"
    assert lines["stream 0"].endswith("64 x 48 pixels, not read; choose it with --stream")
    assert lines["stream 1"].endswith("128 x 96 pixels, read")
    assert lines["note"].startswith("the file has 2 video tracks")
    assert "two" not in str({**lines, "note": ""}), "names of files may name a patient"
    assert printed(capsys, str(path), "--stream", "0")["frames"] == "5 of 64 x 48 pixels"


def test_damage_is_found_by_decoding(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 40, options=x264(10), size=(64, 48))
    blank(path, range(13, 15))
    assert printed(capsys, str(path))["damage"] == "none was found without decoding all frames"
    assert "do not decode" in printed(capsys, str(path), "--decode")["note"]


def test_a_folder_of_images(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for index in range(3):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / f"{index}.png")
    lines = printed(capsys, str(tmp_path), "--fps", "10")
    assert lines["files"] == "3 images, png"
    assert lines["rate"] == "10 frames per second; the last frame is at 0.200 s"


def test_what_is_not_clear_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("0.png", "0.jpg"):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / name)
    assert cli.main(["inspect", str(tmp_path)]) == 2
    assert "--pattern" in capsys.readouterr().err
