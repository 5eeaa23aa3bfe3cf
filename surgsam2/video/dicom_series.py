"""Folders of DICOM files with one frame each."""

from __future__ import annotations

from collections import defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from surgsam2.errors import VideoError
from surgsam2.video.base import check_count
from surgsam2.video.dicom_header import DicomHeader, is_dicom, read_header
from surgsam2.video.image_folder import images_in, natural_key
from surgsam2.video.itk import ItkVideo

_SUFFIXES = frozenset({".dcm", ".dicom", ".ima", ""})
_LISTED = 6


class DicomSeries(ItkVideo):
    """A series of DICOM files, in the order of their instance numbers.

    The window and the colours are those of `ItkVideo`, one window for all files. The times are
    those at which the pictures were taken, if every file tells another one and they ascend with
    the instance numbers; else the rate is that of the first file.

    Args:
        source: the folder that the user gave.
        headers: the headers of the files, in order; at least one.
        fps: frames per second of a series that tells no times.

    Raises:
        VideoError: a file has another size than the first, or cannot be read.
    """

    def __init__(self, source: str, headers: list[DicomHeader], *, fps: float) -> None:
        check_count(source, len(headers))
        first = headers[0]
        for header in headers[1:]:
            if header.size != first.size:
                raise VideoError(
                    f"{header.path}: {header.size[0]}x{header.size[1]} pixels, but "
                    f"{first.path.name} has {first.size[0]}x{first.size[1]}; all files of a series "
                    "must have one size"
                )
        self._paths = [header.path for header in headers]
        super().__init__(source, first.path, fps=fps)
        self._frame_count = len(headers)
        taken = [header.taken for header in headers]
        if all(taken) and len(taken) > 1:
            times = np.array([(time - taken[0]).total_seconds() for time in taken])  # type: ignore[operator]
            if (np.diff(times) > 0).all():
                self._times, self._fps = times, (len(times) - 1) / float(times[-1])

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in order."""
        return tuple(self._paths)

    def _samples(self, index: int) -> np.ndarray:
        reader = self._open_file(self._paths[index])
        if list(reader.GetSize())[:2] != [self._width, self._height] or (
            reader.GetNumberOfComponents() != self._channels
        ):
            raise VideoError(f"{self._paths[index]}: its pixels are not like the first file's")
        self._reader = reader
        samples: np.ndarray = self._load([*reader.GetSize()], [0] * reader.GetDimension())
        return samples.reshape(self._frame_shape)


def find_series(folder: Path, pattern: str | None = None) -> list[DicomHeader]:
    """Return the headers of the DICOM files of a folder in order; empty if there are none.

    Args:
        folder: the folder; hidden files in it do not count.
        pattern: the names of the files; None takes all that are DICOM.

    Raises:
        VideoError: the files belong to several series, some have several frames, or their order
            is not clear.
    """
    try:
        files = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in _SUFFIXES
            and not path.name.startswith(".")
            and path.name.upper() != "DICOMDIR"
            and (pattern is None or fnmatchcase(path.name, pattern))
            and path.is_file()
            and is_dicom(path)
        ]
    except OSError as error:
        raise VideoError(f"{folder}: cannot list the folder ({error.strerror})") from error
    headers = [read_header(path) for path in sorted(files, key=lambda p: natural_key(p.name))]
    if headers and pattern is None and (images := images_in(folder)):
        raise VideoError(
            f"{folder}: {len(headers)} DICOM files and {len(images)} images lie in this folder; "
            f"choose with a pattern such as '*{headers[0].path.suffix}' or '*{images[0].suffix}'"
        )
    if len(headers) < 2:
        return headers
    _refuse_several(folder, headers)
    numbers = [header.instance for header in headers]
    if None in numbers or len(set(numbers)) < len(numbers):
        raise VideoError(
            f"{folder}: the order of its {len(headers)} DICOM files is not clear, because "
            f"{'some have no' if None in numbers else 'several have the same'} instance number; "
            "export the series again, or save its frames as images"
        )
    return sorted(headers, key=lambda header: header.instance or 0)


def _refuse_several(folder: Path, headers: list[DicomHeader]) -> None:
    series: dict[str, list[DicomHeader]] = defaultdict(list)
    for header in headers:
        series[header.series].append(header)
    if len(series) > 1:
        listed = "; ".join(
            f"{found[0].series_name or 'without a name'}, {len(found)} files such as "
            f"{found[0].path.name}"
            for found in list(series.values())[:_LISTED]
        )
        raise VideoError(
            f"{folder}: {len(series)} DICOM series lie in this folder ({listed}); choose the files "
            "of one with a pattern, or move them to a folder of their own"
        )
    several = [h for h in headers if h.frames > 1 or h.is_video]
    if several:
        raise VideoError(
            f"{folder}: {len(several)} of its {len(headers)} DICOM files have several frames each; "
            f"give one of them, such as {several[0].path.name}"
        )
