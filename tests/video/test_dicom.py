"""DICOM as endoscopy towers write it: streams of video, series of files, and their times."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import surgsam2
from surgsam2.errors import VideoError
from tests.conftest import moving_picture
from tests.video.helpers import write_video

FRAMES, WIDTH, HEIGHT = 12, 160, 120
MPEG2, H264, H264_FRAGMENTED, HEVC = (
    f"1.2.840.10008.1.2.4.{number}" for number in ("100", "102", "102.1", "107")
)
PICTURES = moving_picture(FRAMES)


def stream(folder: Path, codec: str, suffix: str) -> bytes:
    try:
        path = write_video(
            folder / f"stream{suffix}",
            FRAMES,
            codec=codec,
            size=(WIDTH, HEIGHT),
            frame=lambda i: av.VideoFrame.from_ndarray(PICTURES[i], format="rgb24"),
        )
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this build of FFmpeg does not encode {codec} ({error})")
    return path.read_bytes()


def dataset(syntax: str, **tags: Any) -> Dataset:
    """Return a data set of a picture, without pixels."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.PatientName = "Nobody^Known"
    data.Rows, data.Columns = HEIGHT, WIDTH
    data.SamplesPerPixel, data.PhotometricInterpretation = 3, "RGB"
    data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def save(data: Dataset, path: Path) -> Path:
    data.save_as(path, enforce_file_format=True)
    return path


def a_video(path: Path, content: bytes, syntax: str = H264, parts: int = 1, **tags: Any) -> Path:
    data = dataset(syntax, NumberOfFrames=FRAMES, **tags)
    size = -(-len(content) // parts)
    size += size % 2
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    data.PixelData = encapsulate(pieces)
    data["PixelData"].is_undefined_length = True
    return save(data, path)


@pytest.mark.parametrize(
    ("codec", "suffix", "syntax", "parts"),
    [
        ("mpeg2video", ".mpg", MPEG2, 1),
        ("mpeg2video", ".m2v", MPEG2, 1),
        ("libx264", ".mp4", H264, 1),
        ("libx264", ".h264", H264_FRAGMENTED, 3),
        ("libx265", ".mp4", HEVC, 1),
    ],
)
def test_a_stream_in_a_dicom_file_is_read_like_a_file(
    tmp_path: Path, codec: str, suffix: str, syntax: str, parts: int
) -> None:
    content = stream(tmp_path, codec, suffix)
    path = a_video(tmp_path / "endoscopy", content, syntax, parts, FrameTime=50)
    with surgsam2.open_video(path) as video:
        assert (video.frame_count, video.width, video.height) == (FRAMES, WIDTH, HEIGHT)
        assert video.fps == 20
        assert np.allclose(video.timestamps, np.arange(FRAMES) / 20)
        assert video.files == (path,)
        error = np.abs(video[7].astype(int) - PICTURES[7])
        assert error.mean() < 12
        assert np.array_equal(next(iter(video.frames(7, 8)))[1], video[7])
        # a bare H.264 stream has no timestamps
        assert [w for w in video.warnings if "timestamps do not order" not in w] == []
        temporary = video.container.parent
        assert temporary.is_dir()
    assert not temporary.exists()


def test_the_times_of_the_frames(tmp_path: Path) -> None:
    content = stream(tmp_path, "libx264", ".mp4")
    vector = [0, *([40] * 5), 100, *([40] * 5)]
    path = a_video(
        tmp_path / "a.dcm", content, FrameTimeVector=vector, FrameTime=10,
        FrameIncrementPointer=0x00181065,
    )  # fmt: skip
    with surgsam2.open_video(path) as video:
        assert np.allclose(np.diff(video.timestamps) * 1000, vector[1:])
    path = a_video(
        tmp_path / "b.dcm", content, FrameTimeVector=vector, FrameTime=10,
        FrameIncrementPointer=0x00181063,
    )  # fmt: skip
    with surgsam2.open_video(path) as video:
        assert video.fps == 100
    with surgsam2.open_video(a_video(tmp_path / "c.dcm", content, CineRate=30)) as video:
        assert video.fps == 30
    with surgsam2.open_video(a_video(tmp_path / "d.dcm", content)) as video:
        assert video.fps == 25  # the stream's own


def test_the_times_of_frames_that_are_no_stream(tmp_path: Path) -> None:
    vector = [0, 40, 40, 80]
    data = dataset(ExplicitVRLittleEndian, NumberOfFrames=4, FrameTimeVector=vector)
    data.FrameIncrementPointer = 0x00181065
    data.PixelData = np.stack(PICTURES[:4]).tobytes()
    with surgsam2.open_video(save(data, tmp_path / "a.dcm")) as video:
        assert np.allclose(video.timestamps, [0, 0.04, 0.08, 0.16])
        assert np.array_equal(video[3], PICTURES[3])


def test_another_number_of_frames_than_declared(tmp_path: Path) -> None:
    path = a_video(tmp_path / "a.dcm", stream(tmp_path, "libx264", ".mp4"))
    data = pydicom.dcmread(path)
    data.NumberOfFrames = 99
    save(data, path)
    with surgsam2.open_video(path) as video:
        assert video.frame_count == FRAMES
        assert video.warnings == ["the header declares 99 frames and the stream has 12"]


def test_streams_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"a\.dcm: .*(damaged|not a video|no frame)") as caught:
        surgsam2.open_video(a_video(tmp_path / "a.dcm", b"nothing of the kind " * 9))
    assert tempfile.gettempdir() not in str(caught.value).replace(str(tmp_path), "")
    empty = dataset(H264, NumberOfFrames=1)
    with pytest.raises(VideoError, match="damaged DICOM file"):
        surgsam2.open_video(save(empty, tmp_path / "b.dcm"))
    empty.PixelData = b"\xfe\xff\x00\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)
    empty["PixelData"].is_undefined_length = True
    with pytest.raises(VideoError, match="there is no video in this DICOM file"):
        surgsam2.open_video(save(empty, tmp_path / "c.dcm"))


def test_the_temporary_file_goes_with_the_process(tmp_path: Path) -> None:
    path = a_video(tmp_path / "a.dcm", stream(tmp_path, "libx264", ".mp4"))
    code = f"import surgsam2; v = surgsam2.open_video({str(path)!r}); print(v.container)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
    assert not Path(done.stdout.strip()).exists()


def a_series(folder: Path, order: list[int], **tags: Any) -> Path:
    """Write a file per frame; `order` has the number of the instance in each file."""
    folder.mkdir(exist_ok=True)
    series = generate_uid()
    for position, number in enumerate(order):
        data = dataset(ExplicitVRLittleEndian, SeriesInstanceUID=series, **tags)
        data.InstanceNumber = number
        data.ContentDate, data.ContentTime = "20260102", f"1200{2 * number:02d}.500"
        data.PixelData = PICTURES[number].tobytes()
        save(data, folder / f"IM{position:03d}.dcm")
    return folder


def test_a_series_of_files_comes_in_the_order_of_its_instances(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "series", [3, 1, 10, 2])
    with surgsam2.open_video(folder) as video:
        assert video.frame_count == 4
        for index, number in enumerate([1, 2, 3, 10]):
            assert np.array_equal(video[index], PICTURES[number])
        assert video.timestamps.tolist() == [0, 2, 4, 18]
        assert [path.name for path in video.files][-1] == "IM002.dcm"
    with surgsam2.open_video(folder, pattern="IM00[0-1]*") as video:
        assert video.frame_count == 2


def test_a_series_that_is_not_clear_is_a_question(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "series", [1, 2], SeriesDescription="scope")
    several = a_series(tmp_path / "other", [1])
    (several / "IM000.dcm").rename(folder / "IM100.dcm")
    with pytest.raises(VideoError, match=r"2 DICOM series lie in this folder.*scope, 2 files"):
        surgsam2.open_video(folder)
    with pytest.raises(VideoError, match="several have the same instance number"):
        surgsam2.open_video(a_series(tmp_path / "same", [1, 1]))
    two = a_series(tmp_path / "sizes", [1, 2])
    data = pydicom.dcmread(two / "IM001.dcm")
    data.Rows = HEIGHT // 2
    data.PixelData = data.PixelData[: len(data.PixelData) // 2]
    save(data, two / "IM001.dcm")
    with pytest.raises(VideoError, match=r"IM001\.dcm: 160x60 pixels, but IM000\.dcm has 160x120"):
        surgsam2.open_video(two)
    mixed = a_series(tmp_path / "mixed", [1, 2])
    (mixed / "a.png").write_bytes(b"")
    with pytest.raises(VideoError, match="2 DICOM files and 1 images lie in this folder"):
        surgsam2.open_video(mixed)
    frames = a_series(tmp_path / "frames", [1, 2])
    data = pydicom.dcmread(frames / "IM001.dcm")
    data.NumberOfFrames = 2
    save(data, frames / "IM001.dcm")
    with pytest.raises(VideoError, match="have several frames each; give one of them"):
        surgsam2.open_video(frames)


def test_a_folder_with_one_dicom_file_is_that_file(tmp_path: Path) -> None:
    with surgsam2.open_video(a_series(tmp_path / "one", [4])) as video:
        assert np.array_equal(video[0], PICTURES[4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data + b"\x9b\x73\xa0\x9b" * 50, "200 bytes after its pixels are no element"),
        (
            lambda data: data.replace(b"OB\0\0\2\0\0\0", b"OB\0\0\0\0\xff\xff", 1),
            "an element of 4294901760 bytes is longer than the file",
        ),
    ],
)
def test_lengths_that_compiled_code_would_believe_are_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    """GDCM searched the rest without end, and asked for 4 GB."""
    data = dataset(ExplicitVRLittleEndian, NumberOfFrames=3)
    data.PixelData = np.stack(PICTURES[:3]).tobytes()
    path = save(data, tmp_path / "a.dcm")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(VideoError, match=message):
        surgsam2.open_video(path)


def test_a_file_of_big_endian_order_is_read(tmp_path: Path) -> None:
    data = dataset("1.2.840.10008.1.2.2", NumberOfFrames=3)
    data.PixelData = np.stack(PICTURES[:3]).tobytes()
    data.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=False)
    with surgsam2.open_video(tmp_path / "a.dcm") as video:
        assert np.array_equal(video[1], PICTURES[1])
