"""Reading of videos: files, folders of images, medical image sequences and arrays."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from surgsam2.errors import InputError, VideoError
from surgsam2.video.base import DEFAULT_FPS, VIDEO_SUFFIXES, Video

if TYPE_CHECKING:
    from surgsam2.video.dicom_header import DicomHeader

__all__ = ["VIDEO_SUFFIXES", "Video", "VideoSource", "open_video", "opened"]

VideoSource: TypeAlias = "str | os.PathLike[str] | np.ndarray | Video"
"""What `open_video` opens."""


def open_video(
    source: VideoSource,
    *,
    fps: float | None = None,
    pattern: str | None = None,
    stream: int | None = None,
) -> Video:
    """Open a video for lazy, exact reading by frame index.

    Frames are uint8 RGB ``(H, W, 3)``; see `Video` for how to read them. Decoding is lazy,
    but opening checks the source: a video file is read through once without decoding, in
    a folder the header of every image is read.

    Args:
        source: one of

            - a video file: mp4, mov, avi, mkv, webm and the like;
            - a folder of images (jpg, png, bmp, tif, ...), one for each frame, in natural order
              (2 before 10), or a dataset's sequence folder that has one inside (EndoVis
              ``left_frames``);
            - a single image: a video of one frame;
            - a DICOM file with several frames or a stream of video, or a folder with a series
              of DICOM files;
            - an MHA/MHD or NRRD file, (x, y, time), grey or RGB;
            - a numpy array, ``(T, H, W, 3)`` RGB or ``(T, H, W)`` grey, uint8, used without a
              copy;
            - an open `Video`, which is returned as it is.
        fps: frame rate of sources that carry none: images, arrays, MHA, NRRD, and DICOM without
            frame time; None is 25. Others keep their own.
        pattern: which images of a folder are frames, such as ``*_endo.png``; None takes all,
            which must then be named alike.
        stream: index of the video stream in a file with several; None chooses, and `warnings`
            says so.

    Raises:
        VideoError: the source is missing or cannot be read (an `OSError`), or it is not clear
            which images are frames.
        InputError: an array, a type or an option cannot be used (a `ValueError`).
    """
    if isinstance(source, Video):
        return source
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps must be a positive number, got {fps}")
    rate = DEFAULT_FPS if fps is None else float(fps)
    if isinstance(source, np.ndarray):
        from surgsam2.video.arrays import ArrayVideo

        return ArrayVideo(source, fps=rate)
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            "a video is a path (file or folder) or a numpy array (T, H, W, 3), "
            f"got {type(source).__name__}"
        )
    path = Path(source)
    try:
        is_folder = path.is_dir()
        size = None if is_folder else path.stat().st_size
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file or folder; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"{path}: cannot be opened ({reason})") from error
    if is_folder:
        from surgsam2.video.dicom_series import find_series
        from surgsam2.video.image_folder import find_images
        from surgsam2.video.images import ImageVideo

        if series := find_series(path, pattern):
            return _open_series(path, series, rate)
        found = find_images(path, pattern)
        return ImageVideo(str(path), found.paths, fps=rate, note=found.note)
    if pattern is not None:
        raise InputError(f"pattern chooses images of a folder, and {path} is none; leave it out")
    if not path.is_file():
        raise VideoError(f"{path}: neither a file nor a folder; give a video file")
    if size == 0:
        raise VideoError(f"{path}: the file is empty; copy it again")
    return _open_file(path, rate, stream)


@contextmanager
def opened(source: VideoSource) -> Iterator[Video]:
    """Open a video as `open_video` does, and close it after the block unless it was open before."""
    video = open_video(source)
    try:
        yield video
    finally:
        if video is not source:
            video.close()


def _open_series(folder: Path, series: list[DicomHeader], rate: float) -> Video:
    """Open the DICOM files of a folder; a single one is opened like a file that was named."""
    from surgsam2.video.dicom_series import DicomSeries

    if len(series) == 1:
        return _open_file(series[0].path, rate, None)
    return DicomSeries(str(folder), series, fps=rate)


def _open_file(path: Path, rate: float, stream: int | None) -> Video:
    from surgsam2.video.dicom_header import is_dicom, read_header
    from surgsam2.video.image_folder import IMAGE_SUFFIXES
    from surgsam2.video.images import ImageVideo
    from surgsam2.video.itk import ITK_SUFFIXES, ItkVideo

    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ImageVideo(str(path), [path], fps=rate)
    if is_dicom(path) and read_header(path).is_video:
        from surgsam2.video.dicom_video import DicomVideo

        return DicomVideo(str(path), path)
    if suffix in ITK_SUFFIXES or is_dicom(path):
        return ItkVideo(str(path), path, fps=rate)
    from surgsam2.video.container import ContainerVideo

    return ContainerVideo(str(path), path, stream)
