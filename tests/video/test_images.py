"""Folders of images and single images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import surgsam2
from surgsam2.errors import VideoError
from surgsam2.video.images import natural_key
from tests.video.helpers import number_in, numbers, picture


def save(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(picture(i)).save(folder / name)
    return folder


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "JPEG", "webp", "ppm"])
def test_a_folder_is_a_video(tmp_path: Path, suffix: str) -> None:
    folder = save(tmp_path / "frames", [f"{i:05d}.{suffix}" for i in range(12)])
    (folder / "notes.txt").write_text("not a frame")
    (folder / f".hidden.{suffix}").write_text("not a frame")
    with surgsam2.open_video(folder) as video:
        assert (video.width, video.height, video.fps, len(video)) == (64, 48, 25.0, 12)
        assert numbers(video) == list(range(12))
        assert [i for i, _ in video.frames(2, 9, reverse=True)] == [8, 7, 6, 5, 4, 3, 2]
        assert number_in(video[-1]) == 11
        assert video[3].flags.c_contiguous
        assert video[3].flags.writeable
        assert video.source == str(folder)
        assert video.time_of(10) == 0.4


def test_natural_order(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.png", "frame10.png", "frame11.png", "frame100.png"]
    with surgsam2.open_video(save(tmp_path, names)) as video:
        assert numbers(video) == [0, 1, 2, 3, 4]
    mixed = ["a.png", "10.png", "2.png", "b2c10.png", "b2c9.png", "B2c1.png", "02.png"]
    want = ["02.png", "2.png", "10.png", "a.png", "B2c1.png", "b2c9.png", "b2c10.png"]
    assert sorted(mixed, key=natural_key) == want


def test_jpeg_pixels_are_those_of_pil(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (49, 67, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "0.jpg", quality=80, subsampling=2)
    with surgsam2.open_video(tmp_path) as video:
        np.testing.assert_array_equal(video[0], np.asarray(Image.open(tmp_path / "0.jpg")))


def test_rate_of_the_caller(tmp_path: Path) -> None:
    folder = save(tmp_path, ["0.png", "1.png"])
    assert surgsam2.open_video(folder, fps=50).time_of(1) == 0.02


def test_layouts_of_datasets(tmp_path: Path) -> None:
    davis = save(tmp_path / "JPEGImages" / "480p" / "bear", ["00000.jpg", "00001.jpg"])
    assert len(surgsam2.open_video(davis)) == 2
    endovis = tmp_path / "instrument_dataset_1"
    save(endovis / "left_frames", ["frame000.png", "frame001.png", "frame002.png"])
    save(endovis / "right_frames", ["frame000.png"])
    assert len(surgsam2.open_video(endovis)) == 3


def test_kinds_of_pixels(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    grey16 = np.array([[0, 256, 65535, 32768]], np.uint16)
    cases = {
        "rgba.png": (Image.fromarray(np.dstack([rgb, rgb[..., :1] // 2])), rgb),
        "grey.png": (Image.fromarray(rgb[..., 0]), np.repeat(rgb[..., :1], 3, 2)),
        "bit.png": (Image.fromarray(rgb[..., 0] > 99), np.repeat(rgb[..., :1] > 99, 3, 2) * 255),
        "deep.png": (Image.fromarray(grey16), np.array([[[0] * 3, [1] * 3, [255] * 3, [128] * 3]])),
        "deep.tif": (Image.fromarray(grey16), np.array([[[0] * 3, [1] * 3, [255] * 3, [128] * 3]])),
    }
    for name, (image, want) in cases.items():
        image.save(tmp_path / name)
        np.testing.assert_array_equal(surgsam2.open_video(tmp_path / name)[0], want, err_msg=name)
    palette = Image.fromarray(rgb).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        surgsam2.open_video(tmp_path / "palette.png")[0], np.asarray(palette.convert("RGB"))
    )
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(VideoError, match=r"float\.tif: pixels of PIL mode F"):
        surgsam2.open_video(tmp_path / "float.tif")[0]


def test_one_image_is_a_video_of_one_frame(tmp_path: Path) -> None:
    path = save(tmp_path, ["a.png"]) / "a.png"
    with surgsam2.open_video(path) as video:
        assert len(video) == 1
        np.testing.assert_array_equal(video[0], picture(0))


def test_sizes_must_agree(tmp_path: Path) -> None:
    save(tmp_path, ["0.png", "1.png", "2.png"])
    Image.fromarray(picture(0, 32, 48)).save(tmp_path / "1.png")
    with pytest.raises(VideoError, match=r"1\.png: 32x48 pixels, but 0\.png has 64x48"):
        surgsam2.open_video(tmp_path)


def test_damaged_images_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for name in ("0.png", "1.png"):
        Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[: len(data) // 2])
    with surgsam2.open_video(tmp_path) as video:
        with pytest.raises(VideoError, match=r"1\.png: damaged image"):
            list(video)
        with pytest.raises(VideoError, match=r"1\.png: damaged image"):
            video[1]
    (tmp_path / "1.png").write_bytes(b"plain text")
    with pytest.raises(VideoError, match=r"1\.png: not a JPEG, PNG, .* or PPM image"):
        surgsam2.open_video(tmp_path)
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(VideoError, match=r"1\.png: the file is empty"):
        surgsam2.open_video(tmp_path)


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"no images .* in this folder; give the folder"):
        surgsam2.open_video(tmp_path)
    (tmp_path / "a.mp4").write_text("")
    with pytest.raises(VideoError, match="it holds video files: give one of them"):
        surgsam2.open_video(tmp_path)
    save(tmp_path / "left", ["0.png"])
    with pytest.raises(VideoError, match="such as left"):
        surgsam2.open_video(tmp_path)


def test_absurd_sizes_are_refused(tmp_path: Path) -> None:
    Image.new("1", (20000, 2)).save(tmp_path / "wide.png")
    with pytest.raises(VideoError, match="20000x2 pixels, more than 16384 a side"):
        surgsam2.open_video(tmp_path / "wide.png")
    data = bytearray((tmp_path / "wide.png").read_bytes())
    data[16:24] = bytes.fromhex("0001ffff0001ffff")
    (tmp_path / "wide.png").write_bytes(data)
    with pytest.raises(VideoError, match=r"wide\.png"):
        surgsam2.open_video(tmp_path / "wide.png")
