"""Videos that are folders of images, with one frame per file, or single images."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from surgsam2.errors import ImageFileError, VideoError
from surgsam2.storage.image_file import image_header, read_rgb
from surgsam2.video.base import Video, check_count

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
# Folders in which frames are searched if the folder of a dataset's sequence is given:
# that of EndoVis 2017/2018 (left camera), and names in common use.
_FRAME_FOLDERS = ("left_frames", "JPEGImages", "images", "frames", "img")


class ImageVideo(Video):
    """A video with one image file per frame, decoded by PIL: JPEG pixels are exactly PIL's.

    The pixels are those stored: an EXIF orientation is not applied, because masks are
    drawn on stored pixels. Alpha is dropped, palettes are resolved, 16-bit grey is scaled
    so that 65535 becomes 255 (the same for every frame). Images carry no timing: `fps` is
    what the caller says.

    Opening reads the header of every file (that is how a wrong size is found before the
    work starts, not after).
    """

    def __init__(self, source: str, paths: list[Path], *, fps: float) -> None:
        check_count(source, len(paths))
        width, height = _header(paths[0])
        for path in paths[1:]:
            size = _header(path)
            if size != (width, height):
                raise VideoError(
                    f"{path}: {size[0]}x{size[1]} pixels, but {paths[0].name} has "
                    f"{width}x{height}; all images of a video must have one size"
                )
        super().__init__(source, width=width, height=height, fps=fps, frame_count=len(paths))
        self._paths = paths

    def _read(self, index: int) -> np.ndarray:
        path = self._paths[index]
        try:
            frame = read_rgb(path)
        except ImageFileError as error:
            raise VideoError(str(error)) from error
        if frame.shape != (self._height, self._width, 3):
            raise VideoError(
                f"{path}: its size changed to {frame.shape[1]}x{frame.shape[0]} since the video "
                "was opened; open it again"
            )
        return frame


def find_images(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order (2 before 10), without hidden files.

    A folder without images of its own may be a dataset's sequence folder: then the images
    of its ``left_frames`` (EndoVis), ``JPEGImages``, ``images``, ``frames`` or ``img``.
    """
    try:
        images = _images_in(folder)
        for name in _FRAME_FOLDERS:
            if images:
                break
            if (folder / name).is_dir():
                images = _images_in(folder / name)
        entries = sorted(folder.iterdir()) if not images else []
    except OSError as error:
        raise VideoError(f"{folder}: cannot list the folder ({error.strerror})") from error
    if images:
        return images
    hint = "give the folder that holds the frames"
    inner = next((e.name for e in entries if e.is_dir() and any(_images_in(e))), None)
    if inner is not None:
        hint = f"give the folder that holds the frames, such as {inner}"
    elif any(e.suffix.lower() in (".dcm", ".mha", ".nrrd") for e in entries):
        hint = "it holds medical images: give one multi-frame file"
    elif any(e.suffix.lower() in (".mp4", ".avi", ".mkv", ".mov", ".webm") for e in entries):
        hint = "it holds video files: give one of them"
    raise VideoError(f"{folder}: no images (jpg, png, bmp, tif, ...) in this folder; {hint}")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", name.lower())
    keyed = [(0, int(p), p) if p[:1].isdecimal() else (1, 0, p) for p in parts if p]
    return [*keyed, (2, 0, name)]


def _images_in(folder: Path) -> list[Path]:
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    ]
    return sorted(found, key=lambda path: natural_key(path.name))


def _header(path: Path) -> tuple[int, int]:
    try:
        header = image_header(path)
    except ImageFileError as error:
        raise VideoError(str(error)) from error
    return header.width, header.height
