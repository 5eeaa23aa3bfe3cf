"""Opens the video and the masks of a sequence browser, wherever their pixels are."""

from __future__ import annotations

from typing import Any

from surgsam2.errors import InputError, MissingDependencyError
from surgsam2.mrml.mask_nodes import MaskNodes
from surgsam2.mrml.mask_sequence import MaskSequence
from surgsam2.mrml.nodes import attribute_names
from surgsam2.mrml.video_nodes import STREAM_ATTRIBUTE, VideoNodes


def open_video_nodes(browser: Any) -> VideoNodes:
    """Return the video of a sequence browser, in the scene or streamed from its file.

    Args:
        browser: a ``vtkMRMLSequenceBrowserNode`` with a video among its sequences.

    Raises:
        InputError: the node is of another kind, was deleted, or has no video.
        FilesMovedError: the file of a streamed video is not where it was.
        VideoError: the file of a streamed video cannot be read.
        MissingDependencyError: a package that reads the file is not installed.
    """
    if STREAM_ATTRIBUTE not in attribute_names(browser):
        return VideoNodes(browser)
    try:
        # packages that decode videos may be missing in Slicer
        from surgsam2.mrml.streaming.streamed_video import StreamedVideo

        return StreamedVideo(browser)
    except ImportError as error:
        raise MissingDependencyError(
            f"the video of {browser.GetName()!r} is read from its file, and the Python package "
            f"{error.name} for that is missing; install it and choose the video again"
        ) from error


def open_mask_nodes(browser: Any) -> MaskNodes:
    """Return the masks of a sequence browser, in the scene or in files.

    Args:
        browser: a ``vtkMRMLSequenceBrowserNode`` with a video and masks.

    Raises:
        InputError: the browser has no video, or no masks of this program.
        OutputError: the folder of masks cannot be written.
        FilesMovedError: a file or folder of a streamed video is not where it was.
    """
    video = open_video_nodes(browser)
    if video.file is not None:
        from surgsam2.mrml.streaming.streamed_masks import StreamedMasks

        return StreamedMasks.of(browser)
    masks = MaskSequence.of(video)
    if masks is None:
        raise InputError(
            f"the sequence browser {browser.GetName()!r} has no masks of this program; "
            "create them for its video first"
        )
    return MaskNodes(masks)
