"""Conversion of decoded pictures, in any colour model, to upright RGB."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

# These are swscale's numbers; only later releases of PyAV have names for them.
_BILINEAR, _FULL_CHROMA, _ACCURATE = 0x2, 0x2000, 0x40000
_LIMITED, _FULL = 1, 2

# The MatrixCoefficients of ISO/IEC 23091-2, with which streams are tagged, as swscale's numbers.
_BT709, _BT601, _BT2020 = 1, 5, 9
_MATRIX = {1: _BT709, 4: 4, 5: _BT601, 6: _BT601, 7: 7, 9: _BT2020, 10: _BT2020}
_UNSPECIFIED = 2
_HD_HEIGHT = 720
# The table expands luma of limited range (16..235) to 0..255.
_EXPAND = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}


class RgbConverter:
    """Converts decoded frames to ``(H, W, 3)`` uint8 RGB, all of one size.

    The matrix and range that the stream is tagged with are used. An untagged matrix is
    BT.709 from 720 rows and BT.601 below, as players assume; an untagged range is limited
    (full for the yuvj formats). Not thread-safe; use one for each thread.

    8-bit 4:2:0 and 4:2:2 go through swscale's fast path, which is what ffmpeg itself and
    the usual frame extractors do: every channel within 3 of 255 of the exact value, chroma
    repeated. Everything else is within 1, chroma interpolated, at half the speed.

    Args:
        width: stored width in pixels, before rotation.
        height: stored height in pixels, before rotation.
        orientation: how stored pictures are turned upright.
    """

    def __init__(self, width: int, height: int, orientation: Orientation) -> None:
        self._width = width
        self._height = height
        self._orientation = orientation
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> np.ndarray:
        """Return an `av.VideoFrame` as upright (H, W, 3) uint8 RGB, which the caller owns."""
        name = frame.format.name
        fast = name in ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p")
        even = frame.width % 2 == 0 and frame.height % 2 == 0
        # On the fast path, the flags matter only if swscale has no special case for the pair.
        flags = _BILINEAR if fast and even else _BILINEAR | _FULL_CHROMA | _ACCURATE
        full = is_full_range(frame)
        coded_as_rgb = is_rgb(frame)
        matrix = None if coded_as_rgb else matrix_of(frame)
        rgb = self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format="rgb24",
            src_colorspace=matrix,
            # The value has no meaning for RGB, but PyAV before 17 ignores the matrix of
            # full-range frames unless the two values differ.
            dst_colorspace=_BT709 if matrix == _BT601 else _BT601,
            src_color_range=_FULL if full else _LIMITED,
            dst_color_range=_FULL,
            interpolation=flags,
        )
        array = rgb.to_ndarray()
        if not full and is_grey(frame):  # swscale takes all grey pictures for full range
            array = _EXPAND[array]
        # Without a conversion it is the decoder's own picture, which the caller must not change.
        return self._orientation.apply(array.copy() if rgb is frame else array)


def is_rgb(frame: Any) -> bool:
    """Return whether the samples are RGB (or a palette of RGB), so that no matrix applies."""
    return bool(frame.format.is_rgb) or frame.format.name == "pal8"


def is_grey(frame: Any) -> bool:
    """Return whether there is no colour in the samples."""
    return frame.format.name.startswith(("gray", "ya"))


def is_full_range(frame: Any) -> bool:
    """Return whether samples use all of 0..255 (of the bit depth) rather than 16..235."""
    if is_rgb(frame) or frame.format.name.startswith(("yuvj", "mono")):
        return True
    if is_grey(frame):
        return frame.color_range != _LIMITED
    return frame.color_range == _FULL


def matrix_of(frame: Any) -> int:
    """Return the number of a frame's YUV matrix in swscale, guessed by height if untagged."""
    guess = _BT709 if frame.height >= _HD_HEIGHT else _BT601
    return _MATRIX.get(int(frame.colorspace), guess)


def notes_about(frame: Any) -> dict[str, str]:
    """Return warnings about the colours and fields of a stream by kind, from its first frame."""
    notes = {}
    matrix = int(frame.colorspace)
    if matrix not in (*_MATRIX, _UNSPECIFIED, 0) and not is_rgb(frame):
        notes["matrix"] = (
            f"the colour matrix (code {matrix}) is not supported; colours are approximate"
        )
    transfer = _HDR_TRANSFERS.get(int(getattr(frame, "color_trc", _UNSPECIFIED)))
    if transfer:
        notes["hdr"] = f"high dynamic range ({transfer}) is not tone-mapped; frames look flat"
    if frame.interlaced_frame:
        notes["interlaced"] = (
            "interlaced video: frames are used as stored, with both fields woven together"
        )
    return notes


class Orientation:
    """One of the eight ways in which stored pictures are turned and mirrored to be upright."""

    def __init__(self, *, transpose: bool = False, flip_x: bool = False, flip_y: bool = False):
        self.transpose = transpose
        self._flip_x = flip_x
        self._flip_y = flip_y

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return the upright image, C-contiguous."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self._flip_x:
            image = image[:, ::-1]
        if self._flip_y:
            image = image[::-1]
        return np.ascontiguousarray(image)


def orientation_of(frame: Any) -> Orientation | None:
    """Return the orientation by the display matrix; None if not a multiple of 90 degrees."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None or len(bytes(side_data)) < 36:
        return Orientation()
    # x' = a x + c y, y' = b x + d y, in pixels with y down
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side_data)[:36])
    if b == 0 and c == 0 and a and d:
        return Orientation(flip_x=a < 0, flip_y=d < 0)
    if a == 0 and d == 0 and b and c:
        return Orientation(transpose=True, flip_x=c < 0, flip_y=b < 0)
    return None
