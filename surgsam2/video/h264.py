"""H.264 video whose bytes are the same in every run."""

from __future__ import annotations

from fractions import Fraction
from typing import Any


def add_h264(
    container: Any, size: tuple[int, int], rate: Fraction | int, *, preset: str, crf: int
) -> Any:
    """Add a libx264 stream (yuv420p) to an `av` container opened for writing.

    Args:
        container: the `av` container.
        size: (width, height) in pixels, both even.
        rate: frames per second.
        preset: preset of x264; slower ones make smaller files.
        crf: constant rate factor of x264; lower values give better quality.

    Raises:
        ValueError: this FFmpeg has no libx264.
    """
    import av  # imported late: most commands write no video

    av.Codec("libx264", "w")
    stream: Any = container.add_stream("libx264", rate=rate)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    # x264's macroblock tree for AVX-512 gives other bytes from run to run unless the width is
    # a multiple of 128.
    stream.options = {"preset": preset, "crf": str(crf), "x264-params": "mbtree=0"}
    return stream
