"""Colours: known RGB, encoded under every tag, comes back."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import surgsam2
from tests.video.helpers import number_in, numbers, planes, write_video, x264

KR_KB = {"709": (0.2126, 0.0722), "601": (0.299, 0.114), "2020": (0.2627, 0.0593)}
CODE = {"709": 1, "601": 6, "2020": 9}
COLORS = [(200, 30, 40), (20, 180, 60), (30, 50, 220), (240, 240, 240), (10, 10, 10), (180, 90, 70)]


def yuv(rgb: np.ndarray, matrix: str, full: bool, depth: int = 8) -> list[np.ndarray]:
    """Y, U, V planes of float RGB 0..255 by the definition of ITU-R BT.601/709/2020."""
    kr, kb = KR_KB[matrix]
    r, g, b = np.moveaxis(rgb.astype(float) / 255, -1, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    unit = 2 ** (depth - 8)
    if full:
        top = 2**depth - 1
        values = [y * top, u * top + 128 * unit, v * top + 128 * unit]
    else:
        values = [(y * 219 + 16) * unit, (u * 224 + 128) * unit, (v * 224 + 128) * unit]
    dtype = np.uint8 if depth == 8 else np.uint16
    return [np.clip(np.rint(p), 0, 2**depth - 1).astype(dtype) for p in values]


def stripes(width: int, height: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for i, color in enumerate(COLORS):
        image[:, i * width // 6 : (i + 1) * width // 6] = color
    return image


def middles(frame: np.ndarray) -> np.ndarray:
    height, width, _ = frame.shape
    return np.stack([frame[height // 2, (2 * i + 1) * width // 12] for i in range(6)]).astype(int)


def lossless(path: Path, pix_fmt: str, image: list[np.ndarray], configure=None) -> Path:
    height, width = image[0].shape
    codec = "ffv1" if path.suffix == ".mkv" else "libx264"
    return write_video(
        path,
        2,
        codec=codec,
        options={} if codec == "ffv1" else {"qp": "0", "preset": "ultrafast"},
        pix_fmt=pix_fmt,
        size=(width, height),
        frame=lambda _: planes(pix_fmt, *image),
        configure=configure,
    )


def tag(matrix: str | None, full: bool | None):
    def configure(codec) -> None:
        if matrix:
            codec.colorspace = CODE[matrix]
        if full is not None:
            codec.color_range = 2 if full else 1

    return configure


@pytest.mark.parametrize("matrix", ["709", "601", "2020"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_tagged_matrix_and_range(tmp_path: Path, matrix: str, full: bool, pix_fmt: str) -> None:
    y, u, v = yuv(stripes(96, 48), matrix, full)
    if pix_fmt == "yuv420p":
        u, v = u[::2, ::2], v[::2, ::2]
    path = lossless(tmp_path / "a.mp4", pix_fmt, [y, u, v], tag(matrix, full))
    with surgsam2.open_video(path) as video:
        error = np.abs(middles(video[1]) - COLORS)
    assert error.max() <= (4 if pix_fmt == "yuv420p" else 2), error


@pytest.mark.parametrize(("height", "matrix"), [(480, "601"), (718, "601"), (720, "709")])
def test_untagged_matrix_goes_by_size(tmp_path: Path, height: int, matrix: str) -> None:
    y, u, v = yuv(stripes(48, height), matrix, full=False)
    path = lossless(tmp_path / "a.mp4", "yuv420p", [y, u[::2, ::2], v[::2, ::2]])
    with surgsam2.open_video(path) as video:
        assert np.abs(middles(video[0]) - COLORS).max() <= 4


def test_motion_jpeg_is_full_range_601(tmp_path: Path) -> None:
    y, u, v = yuv(stripes(96, 48), "601", full=True)
    path = write_video(
        tmp_path / "a.avi",
        2,
        codec="mjpeg",
        pix_fmt="yuvj420p",
        options={"q:v": "1", "qmin": "1", "qmax": "1"},
        size=(96, 48),
        frame=lambda _: planes("yuvj420p", y, u[::2, ::2], v[::2, ::2]),
    )
    with surgsam2.open_video(path) as video:
        assert np.abs(middles(video[0]) - COLORS).max() <= 8


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p10le", "yuv422p10le"])
def test_ten_bits(tmp_path: Path, pix_fmt: str) -> None:
    y, u, v = yuv(stripes(96, 48), "709", False, depth=10)
    if "444" not in pix_fmt:
        u, v = u[:, ::2], v[:, ::2]
    if "420" in pix_fmt:
        u, v = u[::2], v[::2]
    path = lossless(tmp_path / "a.mkv", pix_fmt, [y, u, v], tag("709", False))
    with surgsam2.open_video(path) as video:
        assert np.abs(middles(video[0]) - COLORS).max() <= 2


@pytest.mark.parametrize("size", [(97, 49), (97, 48), (96, 49)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    width, height = size
    y, u, v = yuv(stripes(width, height), "601", False)
    if pix_fmt != "yuv444p":
        u, v = u[:, ::2], v[:, ::2]
    if pix_fmt == "yuv420p":
        u, v = u[::2], v[::2]
    path = lossless(tmp_path / "a.mkv", pix_fmt, [y, u, v], tag("601", False))
    with surgsam2.open_video(path) as video:
        assert video[1].shape == (height, width, 3)
        assert np.abs(middles(video[1]) - COLORS).max() <= 4


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("utvideo", "gbrp"), ("ffv1", "bgr0"), ("ffv1", "bgra")]
)
def test_files_coded_as_rgb(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    image = stripes(96, 48)
    path = write_video(
        tmp_path / ("a.mkv" if codec == "ffv1" else "a.avi"),
        2,
        codec=codec,
        pix_fmt=pix_fmt,
        size=(96, 48),
        frame=lambda _: av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt),
    )
    with surgsam2.open_video(path) as video:
        np.testing.assert_array_equal(video[1], image)


def test_files_with_a_palette(tmp_path: Path) -> None:
    palette = np.zeros((256, 4), np.uint8)  # ARGB
    palette[:6] = [(255, *color) for color in COLORS]
    indices = np.repeat(np.arange(6, dtype=np.uint8), 16)[None].repeat(48, axis=0)
    path = write_video(
        tmp_path / "a.avi",
        2,
        codec="png",
        pix_fmt="pal8",
        size=(96, 48),
        frame=lambda _: av.VideoFrame.from_ndarray((indices, palette), format="pal8"),
    )
    with surgsam2.open_video(path) as video:
        np.testing.assert_array_equal(video[1], stripes(96, 48))


@pytest.mark.parametrize(("full", "black", "white"), [(True, 0, 255), (False, 16, 235)])
def test_grey_video(tmp_path: Path, full: bool, black: int, white: int) -> None:
    grey = np.full((48, 96), black, np.uint8)
    grey[:, 48:] = white
    path = lossless(tmp_path / "a.mkv", "gray", [grey], tag(None, full))
    with surgsam2.open_video(path) as video:
        frame = video[0]
    assert frame[5, 5].tolist() == [0, 0, 0]
    assert frame[5, 90].tolist() == [255, 255, 255]


def test_interlaced_video_is_woven_and_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 12, options=x264(5, 0, ":tff=1"), size=(64, 64))
    with surgsam2.open_video(path) as video:
        assert any("interlaced" in w for w in video.warnings)
        assert numbers(video) == list(range(12))
        assert number_in(video[7]) == 7
