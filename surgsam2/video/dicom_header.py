"""The header of a DICOM file: transfer syntax, place in its series, and the times of its frames."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from surgsam2.errors import (
    MissingDependencyError,
    SurgSAM2Error,
    VideoError,
    raise_if_out_of_memory,
)
from surgsam2.storage.text import one_line

_VIDEO_SYNTAX = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.1)?")
"""MPEG-2, MPEG-4 AVC/H.264 and HEVC video (PS3.5, A.4.5 to A.4.9), also in several fragments."""
_FRAME_TIME, _FRAME_TIME_VECTOR = 0x00181063, 0x00181065
_TAGS = [
    "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "InstanceNumber",
    "NumberOfFrames", "Rows", "Columns", "FrameIncrementPointer", "FrameTime", "FrameTimeVector",
    "CineRate", "RecommendedDisplayFrameRate", "AcquisitionDateTime", "ContentDate",
    "ContentTime", "AcquisitionDate", "AcquisitionTime",
]  # fmt: skip


@dataclass(frozen=True)
class DicomHeader:
    """What a DICOM file says of its frames, without anything that names a patient."""

    path: Path
    """The file."""
    syntax: str
    """UID of the transfer syntax; empty if the file has none."""
    series: str
    """UID of the series; empty if the file has none."""
    series_name: str
    """Number and description of the series, for messages."""
    instance: int | None
    """Number of the file in its series."""
    frames: int
    """Number of frames that the file declares, at least 1."""
    size: tuple[int, int]
    """Width and height in pixels; 0 where the file does not say."""
    intervals: np.ndarray
    """Milliseconds from each frame to the next, from the frame time vector; may be empty."""
    fps: float | None
    """Frames per second; None if the file does not say."""
    taken: datetime | None
    """When the file's picture was taken."""

    @property
    def is_video(self) -> bool:
        """Whether the pixels are one stream of a video codec."""
        return _VIDEO_SYNTAX.fullmatch(self.syntax) is not None

    def times(self, count: int) -> np.ndarray | None:
        """Return the times of `count` frames in seconds after the first; None for a fixed rate."""
        if count < 2 or len(self.intervals) < count - 1:
            return None
        return np.concatenate([[0.0], np.cumsum(self.intervals[: count - 1])]) / 1000.0


def is_dicom(path: Path) -> bool:
    """Return whether the file has DICOM's preamble, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path) -> DicomHeader:
    """Read the header of a DICOM file.

    Raises:
        MissingDependencyError: pydicom is not installed.
        VideoError: the file is not DICOM, or its header is damaged.
    """
    import_pydicom(path)
    with damaged_dicom(path), path.open("rb") as file:
        return _header(path, read_elements(file, _TAGS))


@contextmanager
def damaged_dicom(path: Path) -> Iterator[None]:
    """Report any error in the block as a damaged DICOM file, and no warnings.

    A damaged file can raise anything.

    Raises:
        VideoError: there was an error.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SurgSAM2Error:
        raise
    except Exception as error:
        raise_if_out_of_memory(error)
        reason = one_line(error)
        raise VideoError(f"{path}: damaged DICOM file ({reason}); export it again") from error


def read_elements(file: IO[bytes], names: list[str]) -> Any:
    """Return the elements with these names, and leave the file at the pixels."""
    from pydicom import dcmread

    return dcmread(file, stop_before_pixels=True, specific_tags=names, force=True)


def import_pydicom(path: Path) -> Any:
    """Return the package pydicom; raise `MissingDependencyError` that names a file without it."""
    try:
        import pydicom
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: reading DICOM needs pydicom, which cannot be imported ({error}); "
            "install it with: pip install pydicom"
        ) from error
    return pydicom


def _header(path: Path, data: Any) -> DicomHeader:
    vector = np.array([_number(v) or 0.0 for v in _values(data, "FrameTimeVector")], np.float64)
    time = _positive(data, "FrameTime")
    pointers = [int(tag) for tag in _values(data, "FrameIncrementPointer")]
    # The pointer says which of the two holds when both are there.
    if _FRAME_TIME in pointers and time is not None:
        vector = vector[:0]
    elif _FRAME_TIME_VECTOR in pointers and len(vector):
        time = None
    # The first value of a vector is the time before the first frame.
    intervals = vector[1:] if (vector[1:] > 0).all() else vector[:0]
    rates = (_positive(data, key) for key in ("CineRate", "RecommendedDisplayFrameRate"))
    fps = next((rate for rate in rates if rate), None)
    if time is not None:
        fps = 1000.0 / time
    elif len(intervals):
        fps = 1000.0 / float(intervals.mean())
    number, text = data.get("SeriesNumber"), str(data.get("SeriesDescription") or "")
    instance = _number(data.get("InstanceNumber"))
    return DicomHeader(
        path=path,
        syntax=str(data.file_meta.get("TransferSyntaxUID", "")),
        series=str(data.get("SeriesInstanceUID") or ""),
        series_name=" ".join(f"{number or ''} {text}".split())[:80],
        instance=None if instance is None else int(instance),
        frames=max(1, int(_number(data.get("NumberOfFrames")) or 1)),
        size=(int(data.get("Columns") or 0), int(data.get("Rows") or 0)),
        intervals=intervals,
        fps=fps,
        taken=_taken(data),
    )


def _values(data: Any, key: str) -> Sequence[Any]:
    value = data.get(key)
    if value is None or value == "":
        return ()
    return value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _positive(data: Any, key: str) -> float | None:
    number = next(map(_number, _values(data, key)), None)
    return number if number is not None and number > 0 else None


def _taken(data: Any) -> datetime | None:
    texts = [str(data.get("AcquisitionDateTime") or "")]
    for kind in ("Acquisition", "Content"):
        texts.append(f"{data.get(f'{kind}Date') or ''}{data.get(f'{kind}Time') or ''}")
    for text in texts:
        for form in ("%Y%m%d%H%M%S.%f", "%Y%m%d%H%M%S"):
            try:
                return datetime.strptime(text.strip(), form)
            except ValueError:
                continue
    return None
