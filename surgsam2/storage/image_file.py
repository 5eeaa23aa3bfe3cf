"""The only module that opens image files; it takes each of them for a stranger's.

Nothing else in the project calls ``PIL.Image.open`` or OpenCV's readers (a rule of the linter
says so). A file is read only as one of the formats that the caller names, whatever its name
says: other formats of Pillow start programs (PostScript starts Ghostscript). Its size in pixels
is read from the header and checked against `surgsam2.storage.limits` before any pixel is
decoded, and what a small file can cost in time and memory is bounded:

* Only the first picture of a JPEG is given to Pillow, without EXIF, colour profile and further
  frames, and it has at most `JPEG_SCANS` scans.
* Of a TIFF, not more bytes are read than four times its size, and its tiles are not larger than
  a picture may be.
* An image in a form that Pillow decodes in Python (run-length BMP, PPM of odd depth) has at most
  `SLOW_PIXELS` pixels.
* Pillow limits the text and the colour profile of a PNG: 1 MiB each, 64 MiB of text together.

Of a file with several frames the first is read. Orientation tags of JPEG and PNG are not
applied, because masks are drawn on the stored pixels.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from surgsam2.errors import ImageFileError, SurgSAM2Error, raise_if_out_of_memory
from surgsam2.storage.limits import FRAME_PIXELS, FRAME_SIDE, size_allowed

LABEL_FORMATS = ("PNG",)
"""Formats of label images and masks that surgsam2 writes."""
LOSSLESS_FORMATS = ("PNG", "BMP", "TIFF")
"""Formats of the labels of datasets."""
FRAME_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM")
"""Formats of the frames of a video or dataset."""

JPEG_SCANS = 100
"""Largest number of scans of a progressive JPEG. Each may take as long as a whole picture. Ten are
usual, and libtiff has the same limit."""
SLOW_PIXELS = 2**24
"""Largest number of pixels in a form that Pillow decodes in Python, in 0.15 microseconds each."""

_JPEG_START = b"\xff\xd8\xff"
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_NEEDED = {*range(0xC0, 0xD0), 0xDB, 0xDD, 0xE0, 0xEE} - {0xC8}
"""The segments of a JPEG that a decoder needs: size, tables, restarts and kind of colours."""
_SCAN_OR_END = re.compile(rb"\xff[\xda\xd9]")
_PNG_START = b"\x89PNG\r\n\x1a\n"
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file."""

    format: str
    """One of `FRAME_FORMATS`."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    pictures: int = 1
    """Number of pages of a TIFF, or of pictures of an animation."""


@dataclass(frozen=True)
class StoredPixels:
    """The pixels of an image file as they are stored, without conversion."""

    values: np.ndarray
    """(H, W) bool, uint8, uint16, int32 or float32 for the modes 1, L, P, I;16, I and F; else
    (H, W, C) uint8, or uint16 for RGB;16 and RGBA;16."""
    mode: str
    """Pillow's name of the kind of pixels, or ``RGB;16`` or ``RGBA;16``: several channels of
    16 bits each, of which Pillow keeps the upper halves only."""
    palette: bytes = b""
    """Red, green and blue of each value, one after the other, for mode P; empty otherwise."""


def image_header(path: Path, *, formats: tuple[str, ...] = FRAME_FORMATS) -> ImageHeader:
    """Read the header of an image file.

    Args:
        path: the file.
        formats: the formats that are accepted, some of `FRAME_FORMATS`.

    Raises:
        ImageFileError: the file cannot be opened, has another format, is damaged, or declares
            more pixels than `surgsam2.storage.limits` allows.
    """
    with _opened(path, formats, header_only=True) as image:
        return ImageHeader(image.format or "", *image.size, getattr(image, "n_frames", 1))


def read_pixels(path: Path, *, formats: tuple[str, ...] = LABEL_FORMATS) -> StoredPixels:
    """Read an image file whose values mean something, such as object ids.

    Args:
        path: the file.
        formats: the formats that are accepted, some of `FRAME_FORMATS`.

    Raises:
        ImageFileError: as for `image_header`.
    """
    with _opened(path, formats) as image:
        if image.format == "PNG" and image.fp is not None:
            image.fp.seek(0)  # Pillow goes back to where the pixels begin
            start = image.fp.read(26)
            if _is_wide(start):
                if struct.unpack(">II", start[16:24]) != image.size:
                    raise ValueError("it has two headers")
                image.fp.seek(0)
                return _wide_channels(image.fp.read())
        palette = image.getpalette() if image.mode == "P" else None
        return StoredPixels(np.asarray(image), image.mode, bytes(palette or ()))


def read_rgb(
    path: Path, *, formats: tuple[str, ...] = FRAME_FORMATS, with_opencv: bool = False
) -> np.ndarray:
    """Read an image file as a (H, W, 3) uint8 RGB frame, C-contiguous.

    Alpha is dropped, a palette is resolved, and 16-bit grey is scaled so that 65535 becomes 255.

    Args:
        path: the file.
        formats: the formats that are accepted, some of `FRAME_FORMATS`.
        with_opencv: decode a JPEG with OpenCV, which takes less memory and time than Pillow. The
            pixels are the same where both are built on the same library.

    Raises:
        ImageFileError: as for `image_header`; also for pixels of 32 bits, whose brightness is
            not defined.
    """
    with _opened(path, formats) as image:
        if with_opencv and image.format == "JPEG" and image.fp is not None:
            import cv2

            image.fp.seek(0)
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
            return cv2.cvtColor(_opencv(image.fp.read(), flags), cv2.COLOR_BGR2RGB)
        # PIL opens 16-bit PNG as "I" before release 10.3
        if image.mode in _DEEP or (image.mode == "I" and image.format == "PNG"):
            deep = np.asarray(image).astype(np.uint32)
            grey = ((deep * 255 + 32767) // 65535).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        if image.mode in ("I", "F"):
            raise ImageFileError(
                f"pixels of PIL mode {image.mode} (32 bits a pixel) have no defined "
                "brightness; save it with 8 or 16 bits",
                path,
            )
        return np.array(image if image.mode == "RGB" else image.convert("RGB"), order="C")


def has_wide_channels(path: Path) -> bool:
    """Return whether a file is a PNG with several channels of 16 bits each."""
    try:
        with path.open("rb") as file:
            return _is_wide(file.read(26))
    except OSError:
        return False  # the reader will say what is wrong


def _is_wide(start: bytes) -> bool:
    """Return whether the first 26 bytes of a file begin a PNG with several 16-bit channels.

    They are the signature and the header with width, height, depth and colour type.
    """
    grey_alpha, rgb, rgba = b"\x10\x04", b"\x10\x02", b"\x10\x06"
    return start.startswith(_PNG_START) and start[24:26] in (grey_alpha, rgb, rgba)


@contextmanager
def _opened(
    path: Path, formats: tuple[str, ...], header_only: bool = False
) -> Iterator[ImageFile.ImageFile]:
    """Open an image and check its header; report any error in the block as a damaged file."""
    file = _reader(path)
    try:
        with file, _identified(file, formats, header_only) as image:
            _check(image, path)
            yield image
    except SurgSAM2Error:
        raise
    except Image.UnidentifiedImageError as error:
        *most, last = formats
        kinds = f"{', '.join(most)} or {last}" if most else last
        raise ImageFileError(
            f"not a {kinds} image, whatever its name says; replace or remove it", path
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(
            f"the header declares too many pixels ({_one_line(error)}); the file is "
            "damaged, or scale it down first",
            path,
        ) from error
    except Exception as error:  # a damaged file can raise anything
        raise_if_out_of_memory(error)
        raise ImageFileError(
            f"damaged image ({_one_line(error)}); replace or remove it", path
        ) from error


class _Reader(io.BufferedReader):
    """A file of which at most about four times its size is read.

    A TIFF can refer to the same bytes many times.
    """

    def __init__(self, raw: io.FileIO, size: int) -> None:
        super().__init__(raw)
        self._left = 4 * size + 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("its parts overlap")
        return data


def _reader(path: Path) -> _Reader:
    try:
        status = path.stat()  # a pipe is not opened: that would wait for its other end
        file = _Reader(io.FileIO(path), status.st_size) if stat.S_ISREG(status.st_mode) else None
    except (OSError, ValueError) as error:
        raise ImageFileError("cannot be opened; is it there, and may you read it?", path) from error
    if file is None:
        raise ImageFileError("not a file; replace or remove it", path)
    if not status.st_size:
        file.close()
        raise ImageFileError("the file is empty; copy it again or remove it", path)
    return file


def _identified(file: _Reader, formats: tuple[str, ...], header_only: bool) -> ImageFile.ImageFile:
    stream: _Reader | io.BytesIO = file
    if "JPEG" in formats and file.peek(3).startswith(_JPEG_START):
        data = file.read(2**13) if header_only else file.read()
        picture = _first_picture(data) or _first_picture(data + file.read())
        if not picture:
            raise ValueError("it ends before its pixels")
        stream = io.BytesIO(picture)
    with warnings.catch_warnings():
        # the size is checked by `_check`, with our own limits
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(stream, formats=formats)


def _first_picture(data: bytes) -> bytes:
    """Return the segments of a JPEG's first picture; empty if the data ends before its pixels.

    Pillow parses EXIF and lists of further pictures on opening, and some of its releases without
    a bound on memory.
    """
    kept = [data[:2]]
    place = 2
    while found := _MARKER.search(data, place):
        place, marker = found.end(), data[found.end() - 1]
        if marker == 0xDA:  # a scan reaches to the first end mark, which its data cannot hold
            end = len(data)
            for scan, mark in enumerate(_SCAN_OR_END.finditer(data, place - 2), 1):
                if mark[0] == b"\xff\xd9":
                    end = mark.end()
                    break
                if scan > JPEG_SCANS:
                    raise ValueError(f"more than {JPEG_SCANS} scans")
            return b"".join([*kept, data[place - 2 : end]])
        if marker == 0xD9:
            break
        if marker != 0x01 and not 0xD0 <= marker <= 0xD8:  # those have no content
            size = int.from_bytes(data[place : place + 2], "big")
            if size < 2:
                break
            if marker in _NEEDED:
                kept.append(data[place - 2 : place + size])
            place += size
    return b""


def _check(image: ImageFile.ImageFile, path: Path) -> None:
    """Refuse an image that would take too much time or memory to decode."""
    width, height = image.size
    if not size_allowed(width, height):
        raise ImageFileError(
            f"the header declares {width}x{height} pixels, more than {FRAME_SIDE.value} "
            f"a side or {FRAME_PIXELS.value} in all; the file is damaged, or scale it down first, "
            f"or raise {FRAME_SIDE.variable} and {FRAME_PIXELS.variable}",
            path,
        )
    decoder = image.tile[0][0] if image.tile else ""
    if decoder in Image.DECODERS and width * height > SLOW_PIXELS:
        raise ImageFileError(
            f"{width}x{height} pixels in a form of {image.format} that takes long to "
            "read; save it as PNG",
            path,
        )
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile_width, tile_height = tags.get(322, 1), tags.get(323, 1)
        if not isinstance(tile_width, int) or not isinstance(tile_height, int):
            raise ValueError("the size of its tiles is no number")
        if tile_width * tile_height > FRAME_PIXELS.value:
            raise ImageFileError(
                f"its tiles have more than {FRAME_PIXELS.value} pixels; the file is "
                "damaged, or save it as PNG",
                path,
            )


def _wide_channels(data: bytes) -> StoredPixels:
    """Return the pixels of a PNG with several channels of 16 bits."""
    import cv2

    values = _opencv(data, cv2.IMREAD_UNCHANGED)
    channels = [2, 1, 0, 3][: values.shape[2]]
    return StoredPixels(values[..., channels], "RGBA;16" if len(channels) == 4 else "RGB;16")


def _opencv(data: bytes, flags: int) -> np.ndarray:
    """Decode an image, whose header is checked, with OpenCV; blue is the first channel."""
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise ValueError("its pixels cannot be decoded")
    return np.asarray(image)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
