"""Small videos that know what is in them: every frame shows its own number."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

WIDTH, HEIGHT, RATE = 64, 48, 25
DARK, BRIGHT = 40, 220


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(H, W, 3) grey frame: 8 large blocks, bright where that bit of `number` is set."""
    bits = np.array([number >> bit & 1 for bit in range(8)]).reshape(2, 4)
    rows = np.arange(height) * 2 // height
    columns = np.arange(width) * 4 // width
    grey = np.where(bits[rows][:, columns] == 1, BRIGHT, DARK).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def number_in(frame: np.ndarray) -> int:
    """Which `picture` a decoded frame shows; fails when a block is neither dark nor bright."""
    height, width, _ = frame.shape
    number = 0
    for bit in range(8):
        y, x = (2 * (bit // 4) + 1) * height // 4, (2 * (bit % 4) + 1) * width // 8
        level = int(frame[y, x].mean())
        assert abs(level - DARK) < 50 or abs(level - BRIGHT) < 50, f"block {bit} is {level}"
        number |= (level > 130) << bit
    return number


def numbers(frames: Any) -> list[int]:
    return [number_in(frame) for frame in frames]


def write_video(
    path: Path,
    count: int = 40,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, RATE),
    container_options: dict[str, str] | None = None,
    frame: Callable[[int], Any] | None = None,
    configure: Callable[[Any], None] | None = None,
) -> Path:
    """Encode `count` frames: `picture(i)`, or what `frame(i)` makes (an `av.VideoFrame`)."""
    width, height = size
    with av.open(str(path), "w", options=container_options or {}) as container:
        try:
            stream = container.add_stream(codec, rate=RATE)
        except Exception as error:
            pytest.skip(f"this PyAV has no {codec} encoder ({error})")
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        # without this x264 gives other bytes from run to run, see `surgsam2.video.h264`
        same = {"x264-params": "mbtree=0"} if codec == "libx264" else {}
        stream.options = same | (options or {})
        stream.codec_context.thread_count = 1
        if configure:
            configure(stream.codec_context)
        for i in range(count):
            if frame:
                image = frame(i)
            else:
                image = av.VideoFrame.from_ndarray(picture(i, width, height), format="rgb24")
                image = image.reformat(format=pix_fmt)
            image.pts = pts[i] if pts is not None else i
            image.time_base = time_base
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return path


def x264(key_interval: int, b_frames: int = 0, extra: str = "") -> dict[str, str]:
    """Options for exact key frames every `key_interval` and fixed B-frames."""
    return {
        "preset": "ultrafast" if b_frames == 0 else "veryfast",
        "x264-params": f"keyint={key_interval}:min-keyint={key_interval}:scenecut=0:threads=1:"
        f"mbtree=0:bframes={b_frames}:b-adapt=0{extra}",
    }


def planes(pix_fmt: str, *values: np.ndarray) -> Any:
    """An `av.VideoFrame` with these sample planes."""
    height, width = values[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, samples in zip(frame.planes, values, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        data = np.ascontiguousarray(samples).view(np.uint8)
        rows[:, : data.shape[1]] = data
        plane.update(rows.tobytes())
    return frame


def turn(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix into an mp4 or mov: x' = a x + c y, y' = b x + d y."""
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    at = data.index(identity, data.index(b"tkhd"))
    path.write_bytes(data[:at] + matrix + data[at + len(matrix) :])


def packets_of(path: Path) -> list[tuple[int, int]]:
    """(position in the file, size) of every video packet."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size]


def blank(path: Path, which: Sequence[int]) -> None:
    """Overwrite these packets with zeros; the file keeps its length and its index."""
    data = bytearray(path.read_bytes())
    for position, size in (packets_of(path)[i] for i in which):
        data[position : position + size] = bytes(size)
    path.write_bytes(data)


def open_files(folder: Path) -> list[str]:
    """Files under `folder` that this process holds open (empty where that is not known)."""
    found = []
    if Path("/proc/self/fd").is_dir():
        for entry in Path("/proc/self/fd").iterdir():
            try:
                target = str(entry.readlink())
            except OSError:
                continue
            if target.startswith(str(folder)):
                found.append(target)
    return found


def prefetch_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "surgsam2-prefetch"]
