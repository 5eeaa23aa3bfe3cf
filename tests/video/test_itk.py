"""DICOM multi-frame, MHA and NRRD sequences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

import surgsam2
from surgsam2.errors import VideoError
from surgsam2.video.base import PREFETCH
from tests.video.helpers import number_in, numbers, picture

COLOR = np.stack([picture(i) for i in range(10)])
COLOR[:, 0, :, 0] = 255  # the top row is reddish, to see axis order and channel order
DEEP = (np.arange(4 * 5 * 6).reshape(4, 5, 6) * 10).astype(np.uint16)  # 0 to 1190


def save(path: Path, array: np.ndarray, *, compress: bool = False, **tags: str) -> Path:
    image = SimpleITK.GetImageFromArray(array, isVector=array.shape[-1] in (3, 4))
    for key, value in tags.items():
        image.SetMetaData(key[1:5] + "|" + key[5:], value)
    SimpleITK.WriteImage(image, str(path), compress)
    return path


@pytest.mark.parametrize(
    ("name", "compress"),
    [("a.dcm", False), ("a.mha", False), ("a.mha", True), ("a.nrrd", True), ("a.mhd", False)],
)
def test_colour_sequences(tmp_path: Path, name: str, compress: bool) -> None:
    path = save(tmp_path / name, COLOR, compress=compress)
    with surgsam2.open_video(path) as video:
        assert (video.width, video.height, len(video), video.fps) == (64, 48, 10, 25.0)
        assert number_in(video[7]) == 7
        assert numbers(video) == list(range(10))
        assert [i for i, _ in video.frames(reverse=True)] == list(range(9, -1, -1))
        np.testing.assert_array_equal(video[3], COLOR[3])
        frame = video[3]
        frame[:] = 0
        np.testing.assert_array_equal(video[3], COLOR[3])
        assert video.warnings == []


@pytest.mark.parametrize("name", ["a.dcm", "a.mha", "a.nrrd"])
def test_grey_becomes_rgb(tmp_path: Path, name: str) -> None:
    with surgsam2.open_video(save(tmp_path / name, COLOR[..., 1].copy())) as video:
        np.testing.assert_array_equal(video[5], np.repeat(COLOR[5, ..., 1:2], 3, axis=2))


def test_uncompressed_mha_is_read_frame_by_frame(tmp_path: Path) -> None:
    with surgsam2.open_video(save(tmp_path / "a.mha", COLOR)) as video:
        video[4]
        assert video._array is None
    with surgsam2.open_video(save(tmp_path / "b.mha", COLOR, compress=True)) as video:
        video[4]
        assert video._array is not None
        assert len(video._array) == 10


@pytest.mark.parametrize("name", ["a.dcm", "a.mha", "a.nrrd"])
def test_deep_grey_is_spread_from_smallest_to_largest(tmp_path: Path, name: str) -> None:
    with surgsam2.open_video(save(tmp_path / name, DEEP)) as video:
        want = np.rint(DEEP[2] / 1190 * 255)
        np.testing.assert_array_equal(video[2][..., 0], want)
        assert video[0].min() == 0
        assert video[3].max() == 255


def test_a_dicom_window_is_used(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", DEEP, t00281050="500", t00281051="201")
    with surgsam2.open_video(path) as video:
        values = np.stack([f[..., 0] for f in video])
    low, high = 500 - 0.5 - 100, 500 - 0.5 + 100
    want = np.clip(np.rint((DEEP - low) / (high - low) * 255), 0, 255)
    np.testing.assert_array_equal(values, want)


def test_floats_with_holes(tmp_path: Path) -> None:
    values = np.array([[[0.0, np.nan], [1.0, np.inf]], [[2.0, -np.inf], [0.5, 1.5]]], np.float32)
    with surgsam2.open_video(save(tmp_path / "a.mha", values)) as video:
        assert video[0][..., 0].tolist() == [[0, 0], [128, 255]]
        assert video[1][..., 0].tolist() == [[255, 0], [64, 191]]


def test_a_constant_sequence_is_black(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nrrd", np.full((2, 4, 5), 1000, np.int16))
    assert surgsam2.open_video(path)[1].max() == 0


def test_the_rate_of_a_dicom_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", COLOR, t00181063="40.0")
    with surgsam2.open_video(path, fps=10) as video:
        assert video.fps in (25.0, 10.0)  # a writer may leave the tag out
    grey = save(tmp_path / "b.dcm", DEEP, t00181063="20")
    assert surgsam2.open_video(grey, fps=10).fps == 50.0


def test_a_dicom_file_of_any_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", COLOR).rename(tmp_path / "IM000001")
    assert len(surgsam2.open_video(path)) == 10


def test_a_flat_image_and_a_flat_axis(tmp_path: Path) -> None:
    path = tmp_path / "flat.mha"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(COLOR[4], isVector=True), str(path))
    with surgsam2.open_video(path) as video:
        assert len(video) == 1
        np.testing.assert_array_equal(video[0], COLOR[4])
    path = tmp_path / "thick.nrrd"
    thick = SimpleITK.GetImageFromArray(COLOR[:, None], isVector=True)
    SimpleITK.WriteImage(thick, str(path))
    with surgsam2.open_video(path) as video:
        assert numbers(video) == list(range(10))


def test_what_is_not_a_sequence_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5, 6), np.uint8), isVector=False)
    SimpleITK.WriteImage(image, str(tmp_path / "4d.nrrd"))
    with pytest.raises(VideoError, match="6x5x4x3 is not a sequence of 2-D frames"):
        surgsam2.open_video(tmp_path / "4d.nrrd")
    two = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5, 2), np.float32), isVector=True)
    SimpleITK.WriteImage(two, str(tmp_path / "two.mha"))
    with pytest.raises(VideoError, match="2 values a pixel"):
        surgsam2.open_video(tmp_path / "two.mha")
    for name, kind in (("a.nrrd", "NRRD"), ("a.dcm", "DICOM"), ("a.mha", "MetaImage")):
        (tmp_path / name).write_text("nothing of the kind")
        with pytest.raises(VideoError, match=f"cannot be read as {kind}: the file is damaged"):
            surgsam2.open_video(tmp_path / name)
    monkeypatch.setenv("SURGSAM2_MAX_SEQUENCE_BYTES", "1000")
    with pytest.raises(VideoError, match="can only be read whole; convert it"):
        surgsam2.open_video(save(tmp_path / "big.dcm", COLOR))


def test_a_cut_file_is_refused_when_opened(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nrrd", COLOR)
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(VideoError, match=r"bytes of pixels and \d+ are there"):
        surgsam2.open_video(path)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    """The header declares 4000 x 4000 pixels a frame."""
    path = save(tmp_path / "a.dcm", COLOR)
    data = path.read_bytes()
    for tag in (b"\x28\x00\x10\x00", b"\x28\x00\x11\x00"):  # rows, columns
        at = data.index(tag) + 8
        data = data[:at] + (4000).to_bytes(2, "little") + data[at + 2 :]
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"unpack|frames? (are|is) there|cut"):
        surgsam2.open_video(path)


def test_frames_that_a_dicom_file_only_declares_are_left_out(tmp_path: Path) -> None:
    """A reader would give black frames for them."""
    path = save(tmp_path / "a.dcm", COLOR)
    data = pydicom.dcmread(path)
    data.PixelData = data.PixelData[: 7 * 64 * 48 * 3]
    data.save_as(path)
    with surgsam2.open_video(path) as video:
        assert numbers(video) == list(range(7))
        assert video.warnings == [
            "the header declares 10 frames and the file holds the pixels of 7: the others are "
            "left out"
        ]
    data.PixelData = b""
    data.save_as(path)
    with pytest.raises(VideoError, match="no frame of it is complete"):
        surgsam2.open_video(path)


def test_an_iteration_ends_while_a_frame_is_read(tmp_path: Path) -> None:
    """The garbage collector may end a dropped one at any time, here while `video[3]` is read."""
    path = save(tmp_path / "a.mha", np.zeros((40, 6, 8), np.uint8))
    code = (
        "import sys, time, surgsam2\n"
        "video = surgsam2.open_video(sys.argv[1])\n"
        "frames = video.frames()\n"
        "samples = video._samples\n"
        "def read_and_collect(index):\n"
        "    if index == 3:\n"
        "        next(frames)\n"
        "        time.sleep(0.2)\n"  # the thread of the iteration waits for its turn
        "        frames.close()\n"
        "    return samples(index)\n"
        "while next(frames)[0] != 3:\n"
        "    pass\n"
        "(worker,) = video._workers\n"
        f"while len(worker._items) < {PREFETCH}:\n"
        "    time.sleep(0.01)\n"
        "video._samples = read_and_collect\n"
        "video[3]\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "done"
