"""A long video of small pictures, each of which shows its number."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

FRAMES, WIDTH, HEIGHT, RATE = 10_000, 96, 64, 25
_BITS = 16


def write_long_video(path: Path) -> Path:
    """10,000 frames, a key frame every 12."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 2_000_000
        stream.gop_size = 12
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(number), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def picture(number: int) -> np.ndarray:
    """(64, 96) grey: 16 blocks, bright where that bit of `number` is set."""
    bits = np.array([number >> bit & 1 for bit in range(_BITS)], np.uint8).reshape(4, 4)
    return (40 + 180 * bits).repeat(HEIGHT // 4, axis=0).repeat(WIDTH // 4, axis=1)


def number_in(frame: np.ndarray) -> int:
    """Which `picture` a decoded frame shows."""
    middles = frame[HEIGHT // 8 :: HEIGHT // 4, WIDTH // 8 :: WIDTH // 4].mean(axis=2)
    assert (abs(middles - 130) > 40).all(), "a block is neither dark nor bright"
    return sum(1 << k for k, bright in enumerate((middles > 130).ravel()) if bright)
