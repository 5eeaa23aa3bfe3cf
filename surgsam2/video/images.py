"""Videos that are folders of images, with one frame per file, or single images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from surgsam2.errors import ImageFileError, VideoError
from surgsam2.storage.image_file import image_header, read_rgb
from surgsam2.video.base import Video, check_count


class ImageVideo(Video):
    """A video with one image file per frame, decoded by PIL: JPEG pixels are exactly PIL's.

    The pixels are those stored: an EXIF orientation is not applied, because masks are
    drawn on stored pixels. Alpha is dropped, palettes are resolved, 16-bit grey is scaled
    so that 65535 becomes 255 (the same for every frame). Images carry no timing: `fps` is
    what the caller says.

    Opening reads the header of every file, so that a wrong size is found before the work
    starts.

    Args:
        source: the path that the user gave.
        paths: the image files, in order.
        fps: frames per second.
        note: a sentence for `warnings`; empty for none.

    Raises:
        VideoError: a file is not an image, holds several pictures, or has another size than
            the first.
    """

    def __init__(self, source: str, paths: list[Path], *, fps: float, note: str = "") -> None:
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
        if note:
            self._warn("left out", note)

    @property
    def files(self) -> tuple[Path, ...]:
        """The image files, in order."""
        return tuple(self._paths)

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


def _header(path: Path) -> tuple[int, int]:
    """Return width and height of an image file, after checks."""
    try:
        header = image_header(path)
    except ImageFileError as error:
        raise VideoError(str(error)) from error
    if header.pictures > 1:
        raise VideoError(
            f"{path}: the file holds {header.pictures} pictures, of which only the first would be "
            "read; save each as a file of its own and give the folder, or convert it to an mp4 file"
        )
    return header.width, header.height
