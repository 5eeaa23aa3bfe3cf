"""Folders of images and single images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import surgsam2
from surgsam2.errors import InputError, VideoError
from surgsam2.video.image_folder import natural_key
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


CHOLECSEG = [
    f"frame_{i}_endo{kind}.png"
    for i in (80, 81, 100)
    for kind in ("", "_mask", "_color_mask", "_watershed_mask")
]


@pytest.mark.parametrize(
    ("names", "frames", "note"),
    [
        (CHOLECSEG, 3, "9 label images of CholecSeg8k beside the frames are left out"),
        (["image00.png", "mask00.png", "image01.png", "mask01.png"], 2, "2 label images of DSAD"),
    ],
)
def test_labels_of_known_datasets_are_no_frames(
    tmp_path: Path, names: list[str], frames: int, note: str
) -> None:
    with surgsam2.open_video(save(tmp_path, names)) as video:
        assert len(video) == frames
        assert [path.name for path in video.files] == [n for n in names if n.count("_") < 3
                                                       and not n.startswith("mask")]  # fmt: skip
        assert video.warnings[0].startswith(note)


@pytest.mark.parametrize(
    ("names", "families"),
    [
        (["00000.jpg", "00000.png", "00001.jpg", "00001.png"], r"2 like \*\.jpg .* 2 like \*\.png"),
        (["left1.png", "left2.png", "depth1.png"], r"1 like depth\*\.png .* 2 like left\*\.png"),
        (
            ["1.png", "2.png", "cover.png"],
            r"2 like \*\.png \(1\.png\), 1 like \*\.png \(cover\.png\)",
        ),
    ],
)
def test_several_kinds_of_names_are_a_question(
    tmp_path: Path, names: list[str], families: str
) -> None:
    with pytest.raises(VideoError, match=rf"several kinds of names.*{families}.*--pattern"):
        surgsam2.open_video(save(tmp_path, names))


def test_a_pattern_chooses_frames(tmp_path: Path) -> None:
    save(tmp_path, ["00000.jpg", "00000.png", "00001.jpg", "00001.png", "2.bmp"])
    with surgsam2.open_video(tmp_path, pattern="*.jpg") as video:
        assert [path.name for path in video.files] == ["00000.jpg", "00001.jpg"]
    with pytest.raises(VideoError, match=r"no image has a name like 'a\*'; there are 2 like"):
        surgsam2.open_video(tmp_path, pattern="a*")
    with pytest.raises(VideoError, match=r"00000\.jpg and 00000\.png would both be frames"):
        surgsam2.open_video(tmp_path, pattern="*")
    with pytest.raises(InputError, match=r"2\.bmp is none; leave it out"):
        surgsam2.open_video(tmp_path / "2.bmp", pattern="*")


def test_numbers_with_decimals_and_signs_count_by_value() -> None:
    for names in (
        ["t_0.05s.png", "t_0.1s.png", "t_0.15s.png", "t_1s.png", "t_10s.png"],
        ["x_-2.png", "x_-1.5.png", "x_0.png", "x_+1.png"],
        ["-3.png", "1.png"],
        ["img-1.png", "img-2.png", "img-10.png"],
        ["2024-01-02.png", "2024-01-10.png"],
        ["1.2.9.png", "1.2.10.png"],
    ):
        assert sorted(reversed(names), key=natural_key) == names


@pytest.mark.parametrize(
    ("name", "kind"), [("a.tif", "TIFF"), ("a.webp", "WEBP"), ("a.png", "PNG")]
)
def test_files_of_several_pictures_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    pictures = [Image.fromarray(picture(i)) for i in range(3)]
    pictures[0].save(tmp_path / name, kind, save_all=True, append_images=pictures[1:])
    with pytest.raises(VideoError, match=r"holds 3 pictures, of which only the first"):
        surgsam2.open_video(tmp_path / name)
