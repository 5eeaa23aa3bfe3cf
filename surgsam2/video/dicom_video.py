"""DICOM files whose pixels are a stream of a video codec: MPEG-2, H.264 or HEVC."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from surgsam2.errors import VideoError
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.temporary import TEMPORARY_PLACE, TemporaryFolder
from surgsam2.video.container import ContainerVideo
from surgsam2.video.dicom_header import damaged_dicom, import_pydicom, read_elements, read_header

_BLOCK = 2**20
"""Bytes that are copied at once."""
_PIXELS = (0x7FE0, 0x0010)
_ITEM = b"\xfe\xff\x00\xe0"


class DicomVideo(ContainerVideo):
    """A video inside a DICOM file, read like a file of that codec.

    The stream is copied into a temporary file, which is removed when the video is closed. The
    times of frames are those of the frame time vector, the frame time or the cine rate, in the
    order in which DICOM prefers them, and else those of the stream.

    Args:
        source: the path that the user gave.
        path: the file.

    Raises:
        MissingDependencyError: pydicom is not installed.
        VideoError: the file is damaged, or its stream is no video that can be read.
        OutputError: the folder for temporary files is full or cannot be written.
    """

    def __init__(self, source: str, path: Path) -> None:
        header = read_header(path)
        self._dicom = path
        self._folder = TemporaryFolder()
        stream = self._folder.path / "video"
        try:
            _copy_stream(path, stream)
            super().__init__(source, stream)
        except VideoError as error:
            self._folder.remove()
            raise VideoError(str(error).replace(str(stream), str(path))) from error
        except BaseException:
            self._folder.remove()
            raise
        count = len(self._times)
        times = header.times(count)
        if times is None and header.fps is not None:
            times = np.arange(count) / header.fps
        if times is not None and header.fps is not None:
            self._times, self._fps = times, header.fps
        if header.frames not in (1, count):
            self._warn(
                "length",
                f"the header declares {header.frames} frames and the stream has {count}",
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """The DICOM file."""
        return (self._dicom,)

    def _release(self) -> None:
        super()._release()
        self._folder.remove()


def _copy_stream(path: Path, target: Path) -> None:
    """Write the fragments of the pixel data one after the other into a file.

    Raises:
        VideoError: the file is damaged before the first fragment.
        OutputError: the folder for temporary files is full or cannot be written.
    """
    import_pydicom(path)
    copied = 0
    with (
        writing(TEMPORARY_PLACE),
        target.open("wb") as copy,
        damaged_dicom(path),
        path.open("rb") as file,
    ):
        read_elements(file, [])
        head = file.read(12)
        if struct.unpack("<HH", head[:4]) != _PIXELS or head[8:] != b"\xff\xff\xff\xff":
            raise ValueError("its pixels are not a stream of fragments")
        is_offset_table = True
        while (item := file.read(8))[:4] == _ITEM and len(item) == 8:
            (left,) = struct.unpack("<I", item[4:])
            if is_offset_table:
                file.seek(left, 1)
                is_offset_table = False
                continue
            while left and (block := file.read(min(left, _BLOCK))):
                left -= len(block)
                copied += len(block)
                with writing(TEMPORARY_PLACE):
                    copy.write(block)
    if not copied:
        raise VideoError(f"{path}: there is no video in this DICOM file; export it again")
