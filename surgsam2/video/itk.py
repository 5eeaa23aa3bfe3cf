"""Medical image sequences through SimpleITK: DICOM multi-frame, MHA/MHD, NRRD."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.errors import MissingDependencyError, VideoError, raise_if_out_of_memory
from surgsam2.storage.limits import SEQUENCE_BYTES
from surgsam2.video.arrays import as_rgb
from surgsam2.video.base import Frames, Video, check_count, check_size
from surgsam2.video.dicom_header import is_dicom, read_header
from surgsam2.video.dicom_length import check_elements, frames_in_dicom
from surgsam2.video.header_check import check_amount, check_header
from surgsam2.video.prefetch import Cancelled

ITK_SUFFIXES = frozenset({".dcm", ".dicom", ".ima", ".mha", ".mhd", ".nrrd", ".nhdr"})

_IMAGE_IO = {
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
}
_WINDOW_CENTER, _WINDOW_WIDTH = "0028|1050", "0028|1051"
_PHOTOMETRIC = "0028|0004"
_LOOK_SECONDS = 0.05
"""Seconds between two looks at whether an iteration that waits for its turn has ended."""


class ItkVideo(Video):
    """A ``(x, y, t)`` image: the last axis is time, and a 2-D image is one frame.

    Grey becomes RGB; RGBA loses its alpha. Samples that are not 8-bit unsigned are
    mapped to 0..255 by one window for the whole sequence: the DICOM window (centre and
    width) where the file has one, else the smallest to the largest finite value of all
    frames (found at the first read, which then goes through the whole file once).
    MONOCHROME1 is inverted, so that more is brighter.

    Cost: uncompressed MHA/MHD is read frame by frame. Other formats can only be read
    whole: that happens at the first read, and the sequence stays in memory until `close`.

    `fps` and the times come from DICOM's frame time, frame time vector or cine rate; other files
    carry none.
    """

    def __init__(self, source: str, path: Path, *, fps: float) -> None:
        self._path = path
        self._reader = reader = self._open_file(path)
        self._channels = reader.GetNumberOfComponents()
        self._sizes = [int(n) for n in reader.GetSize()]
        # A fourth axis is accepted if one of the inner ones has a length of 1: (x, y, 1, t).
        self._time = next((a for a in range(len(self._sizes) - 1, 1, -1) if self._sizes[a] > 1), 2)
        if len(self._sizes) < 2 or any(
            n != 1 for axis, n in enumerate(self._sizes) if axis > 1 and axis != self._time
        ):
            raise VideoError(
                f"{path}: an image of {_times(self._sizes)} is not a sequence of 2-D frames; "
                "save it as (x, y, time)"
            )
        if "complex" in _pixel_name(reader):
            raise VideoError(f"{path}: complex numbers are not pixels; save their magnitude")
        if self._channels not in (1, 3, 4):
            raise VideoError(
                f"{path}: {self._channels} values a pixel; a video has 1 (grey), 3 (RGB) or 4 "
                "(RGBA), so save frames along the last axis"
            )
        width, height = self._sizes[:2]
        count = self._sizes[self._time] if len(self._sizes) > 2 else 1
        check_size(source, width, height)
        check_count(source, count)
        header = None if path.suffix.lower() in _IMAGE_IO else read_header(path)
        complete = None if header is None else frames_in_dicom(path)
        if complete is not None and complete < 1:
            raise VideoError(f"{path}: no frame of it is complete; export it again")
        readable = count if complete is None else min(complete, count)
        fps = (header and header.fps) or fps
        super().__init__(source, width=width, height=height, fps=fps, frame_count=readable)
        self._times = None if header is None else header.times(readable)
        if readable < count:
            self._warn(
                "length",
                f"the header declares {count} frames and the file holds the pixels of {readable}: "
                "the others are left out",
            )
        self._eight_bit = "8-bit unsigned" in _pixel_name(reader)
        self._inverted = _tag(reader, _PHOTOMETRIC) == "MONOCHROME1"
        self._lazy = _reads_regions(path)
        self._window = None if self._eight_bit else _dicom_window(reader)
        self._array: np.ndarray | None = None
        if not self._lazy:
            size = math.prod(self._sizes) * self._channels * _sample_bytes(reader)
            if size > SEQUENCE_BYTES.value:
                raise VideoError(
                    f"{path}: {size / 2**30:.0f} GiB of pixels, and this format can only be read "
                    "whole; convert it to a video file or an uncompressed .mha, or raise "
                    f"{SEQUENCE_BYTES.variable}"
                )
            check_amount(path, size, path.stat().st_size, is_packed=True)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self._path,)

    @property
    def timestamps(self) -> np.ndarray:
        """Presentation time of each frame in seconds, (frame_count,) float64; frame 0 is at 0.0."""
        return super().timestamps if self._times is None else self._times.copy()

    def _read(self, index: int) -> np.ndarray:
        self._check_open()
        return self._to_rgb(self._samples(index))

    def _forward(self, start: int, stop: int, cancelled: Cancelled) -> Frames:
        return self._in_order(range(start, stop), cancelled)

    def _backward(self, start: int, stop: int, cancelled: Cancelled) -> Frames:
        return self._in_order(range(stop - 1, start - 1, -1), cancelled)

    def _in_order(self, indices: range, cancelled: Cancelled) -> Frames:
        """Yield frames in turn with other readers, which share the file.

        The thread that ends this iteration may hold the lock: the garbage collector ends one that
        was dropped, in any thread.
        """
        for index in indices:
            if cancelled():
                return
            while not self._lock.acquire(timeout=_LOOK_SECONDS):
                if cancelled():
                    return
            try:
                frame = self._read(index)
            finally:
                self._lock.release()
            yield index, frame

    def _samples(self, index: int) -> np.ndarray:
        """Return the stored samples of one frame, (H, W) or (H, W, channels)."""
        if not self._lazy:
            if self._array is None:
                self._array = self._load(self._sizes, [0] * len(self._sizes))
            frames = self._array
        else:
            sizes, at = list(self._sizes), [0] * len(self._sizes)
            if len(sizes) > 2:
                sizes[self._time], at[self._time] = 1, index
            frames, index = self._load(sizes, at), 0
        return frames.reshape(-1, *self._frame_shape)[index]

    @property
    def _frame_shape(self) -> tuple[int, ...]:
        channels = (self._channels,) if self._channels > 1 else ()
        return (self._height, self._width, *channels)

    @staticmethod
    def _open_file(path: Path) -> Any:
        """Return the reader of a file, whose header is read."""
        check_header(path)
        if is_dicom(path):
            check_elements(path)
        reader = _reader(path)
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise_if_out_of_memory(error)
            raise _unreadable(path) from error
        return reader

    def _load(self, sizes: list[int], at: list[int]) -> np.ndarray:
        import SimpleITK

        self._reader.SetExtractSize(sizes)
        self._reader.SetExtractIndex(at)
        try:
            return SimpleITK.GetArrayFromImage(self._reader.Execute())
        except RuntimeError as error:
            raise_if_out_of_memory(error)
            raise _unreadable(self._path) from error

    def _to_rgb(self, samples: np.ndarray) -> np.ndarray:
        if samples.ndim == 3:
            samples = samples[:, :, :3]
        if not self._eight_bit:
            if self._window is None:
                self._window = self._extremes()
            low, high = self._window
            scale = 255.0 / (high - low) if high > low else 0.0
            values = np.nan_to_num(samples.astype(np.float64), nan=low, posinf=high, neginf=low)
            samples = np.clip(np.rint((values - low) * scale), 0, 255).astype(np.uint8)
        if self._inverted:
            samples = 255 - samples
        return as_rgb(samples)

    def _extremes(self) -> tuple[float, float]:
        low, high = np.inf, -np.inf
        for index in range(self._frame_count):
            values = self._samples(index)
            values = values[np.isfinite(values)]
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        return (low, high) if low <= high else (0.0, 1.0)

    def _release(self) -> None:
        self._array = None


def _reader(path: Path) -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: reading this format needs SimpleITK, which cannot be imported ({error}); "
            "install it with: pip install SimpleITK"
        ) from error
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    # The reader is chosen by the name: another might read a hostile file as something else.
    suffix = path.suffix.lower()
    reader.SetImageIO(_IMAGE_IO.get(suffix, "GDCMImageIO"))
    return reader


def _reads_regions(path: Path) -> bool:
    """Return whether a part of the file can be read without the rest: uncompressed MHA/MHD."""
    if path.suffix.lower() not in (".mha", ".mhd"):
        return False
    with path.open("rb") as file:
        header = file.read(65536).split(b"ElementDataFile", 1)[0]
    lines = header.lower().replace(b" ", b"").splitlines()
    return b"compresseddata=true" not in lines


def _unreadable(path: Path) -> VideoError:
    suffix = path.suffix.lower()
    kind = {".mha": "MetaImage", ".mhd": "MetaImage", ".nrrd": "NRRD", ".nhdr": "NRRD"}
    advice = "the file is damaged, cut off or of another kind; export it again"
    if is_dicom(path):
        advice = (
            "it is damaged, not an image, or compressed in a way SimpleITK cannot decode; "
            "export it again as uncompressed DICOM or as mp4"
        )
    return VideoError(f"{path}: cannot be read as {kind.get(suffix, 'DICOM')}: {advice}")


def _pixel_name(reader: Any) -> str:
    import SimpleITK

    return SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())


def _sample_bytes(reader: Any) -> int:
    """Return the size of one stored sample, such as 2 for "16-bit signed integer"."""
    bits = re.search(r"(\d+)-bit", _pixel_name(reader))
    return int(bits[1]) // 8 if bits else 8


def _times(sizes: list[int]) -> str:
    return "x".join(map(str, sizes))


def _tag(reader: Any, key: str) -> str:
    # Several values are separated by a backslash; the first one counts.
    return reader.GetMetaData(key).split("\\")[0].strip() if reader.HasMetaDataKey(key) else ""


def _number(reader: Any, key: str) -> float | None:
    try:
        value = float(_tag(reader, key))
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _dicom_window(reader: Any) -> tuple[float, float] | None:
    """Return the limits of the window, as DICOM PS3.3 C.11.2.1.2.1 defines them."""
    center, width = _number(reader, _WINDOW_CENTER), _number(reader, _WINDOW_WIDTH)
    if center is None or width is None or width <= 1:
        return None
    return center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
