"""Refusals of conditions that are rare, and that no other test happens to meet."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from surgsam2 import open_video
from surgsam2.errors import (
    InputError,
    MissingDependencyError,
    OutputError,
    PromptError,
    VideoError,
)
from surgsam2.model.configs import load_config
from surgsam2.outputs import OutputContext, OverlayWriter
from surgsam2.prompts import Prompt, PromptSet
from surgsam2.prompts.file import prompts_from_text
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.hashing import sha256_of
from surgsam2.video import container, image_folder
from surgsam2.video.base import check_size
from surgsam2.video.decoder import Decoder
from surgsam2.video.index import PacketTable
from tests.video.helpers import write_video


@pytest.fixture
def a_folder_of_images(tmp_path: Path) -> Path:
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_a_hash_that_nobody_waits_for(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(InputError, match=r"hashing .* was cancelled"):
        sha256_of(tmp_path / "x", cancelled)


def test_frames_without_size() -> None:
    with pytest.raises(VideoError, match="declares frames of 0x5 pixels; the file is damaged"):
        check_size("clip.mp4", 0, 5)


def test_a_video_without_frames(a_short_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "scan", lambda *arguments: PacketTable())
    with pytest.raises(VideoError, match="no frames in this video"):
        open_video(a_short_file)


def test_an_unknown_codec(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 3)
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/AVC"))
    with pytest.raises(VideoError, match="the codec of its video track is not supported"):
        open_video(path)


def test_a_pixel_format_that_nobody_knows(
    a_short_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise ValueError("no conversion")

    monkeypatch.setattr(container.RgbConverter, "__call__", refuse)
    with pytest.raises(VideoError, match="frames of pixel format yuv420p cannot be made RGB"):
        open_video(a_short_file)


def test_a_decoder_that_gives_up(a_short_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise av.error.InvalidDataError(1094995529, "Invalid data found")

    monkeypatch.setattr(Decoder, "pictures", refuse)
    with pytest.raises(VideoError, match=r"cannot be decoded \(Invalid data found\)"):
        open_video(a_short_file)


def test_a_video_that_was_replaced(a_short_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_video(a_short_file) as video:
        monkeypatch.setattr(Decoder, "from_frame", lambda *arguments: (x for x in ()))
        with pytest.raises(VideoError, match="no frame can be decoded any more; was the file"):
            list(video)


def test_a_video_that_may_not_be_read(a_short_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(VideoError, match="may not be read; check its permissions"):
        open_video(a_short_file)


def test_images_that_change(a_folder_of_images: Path) -> None:
    with open_video(a_folder_of_images) as video:
        Image.new("RGB", (9, 8)).save(a_folder_of_images / "1.png")
        with pytest.raises(VideoError, match="its size changed to 9x8 since the video was opened"):
            video[1]
        (a_folder_of_images / "2.png").unlink()
        with pytest.raises(VideoError, match="cannot be opened; is it there, and may you read it"):
            video[2]


def test_a_folder_that_cannot_be_listed(
    a_folder_of_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(image_folder, "images_in", refuse)
    with pytest.raises(VideoError, match=r"cannot list the folder \(Permission denied\)"):
        open_video(a_folder_of_images)


def test_complex_numbers(tmp_path: Path) -> None:
    image = SimpleITK.Image([8, 8, 3], SimpleITK.sitkComplexFloat32)
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(VideoError, match="complex numbers are not pixels"):
        open_video(tmp_path / "a.nrrd")


def test_without_simpleitk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SimpleITK.WriteImage(SimpleITK.Image([8, 8, 3], SimpleITK.sitkUInt8), str(tmp_path / "a.mha"))
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingDependencyError, match="needs SimpleITK, which cannot be imported"):
        open_video(tmp_path / "a.mha")


def test_points_and_labels_that_do_not_go_together() -> None:
    with pytest.raises(PromptError, match=r"points must be \(P, 2\) and labels \(P,\), got \(2, 3"):
        Prompt(0, np.zeros((2, 3)), np.ones(1))


def test_an_overlay_that_is_closed(tmp_path: Path) -> None:
    objects = PromptSet().add(object_id=1, frame=0, box=[0, 0, 4, 4]).objects
    writer = OverlayWriter(tmp_path, OutputContext(16, 16, 25.0, objects))
    none, no_masks = np.zeros(0, np.float32), np.zeros((0, 16, 16), bool)
    writer.close()
    with pytest.raises(OutputError, match=r"overlay\.mp4: it is closed"):
        writer.write(np.zeros((16, 16, 3), np.uint8), FrameResult(0, (), no_masks, none, none))


def test_masks_that_did_not_come_with_the_prompts() -> None:
    text = '{"version": 1, "objects": [{"id": 1, "prompts": [{"frame": 0, "mask": "m.png"}]}]}'
    with pytest.raises(PromptError, match=r"there is no mask 'm\.png' beside the prompts"):
        prompts_from_text(text, {})


def test_a_network_for_an_odd_size() -> None:
    with pytest.raises(
        InputError, match="image_size must be a multiple of 32 from 32 to 2048, got 33"
    ):
        load_config("demo", 33)
