"""Whether what lies in an output folder can be read."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
from PIL import Image

from surgsam2.outputs.table import COLUMNS


def unreadable_files(out: Path) -> list[Path]:
    """Files under their final names that cannot be read; unfinished ones have other names."""
    readers: dict[str, Callable[[Path], object]] = {
        ".png": _read_png,
        ".json": lambda path: json.loads(path.read_bytes()),
        ".csv": _read_csv,
        ".mp4": _read_video,
        ".mrb": _read_archive,
    }
    found = []
    for path in sorted(out.rglob("*")):
        if path.suffix in readers and not path.name.startswith("."):
            try:
                readers[path.suffix](path)
            except Exception:
                found.append(path)
    return found


def _read_png(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def _read_csv(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if len(row) != len(COLUMNS):
                raise ValueError(f"{len(row)} columns")


def _read_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise ValueError("damaged")


def _read_video(path: Path) -> None:
    with av.open(str(path)) as video:
        if not sum(1 for _ in video.decode(video=0)):
            raise ValueError("no frames")
