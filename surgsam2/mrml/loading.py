"""Loads the frames of a video into a scene."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from surgsam2.errors import InputError
from surgsam2.mrml.free_memory import free_memory
from surgsam2.mrml.nodes import NewNodes, prepare_scene
from surgsam2.mrml.video_nodes import TIMES_ATTRIBUTE, VideoNodes, playback_rate, times_to_text
from surgsam2.video import Video
from surgsam2.video.sampling import check_scale, scaled_size

BYTES_PER_ITEM = 150_000
"""Bytes that Slicer holds per frame beside its pixels, for nodes of the image and objects.

About 100 kB with three objects; masks add a byte per pixel of the box around all objects.
"""


def load_video(
    scene: Any,
    video: Video,
    *,
    name: str | None = None,
    start: int = 0,
    stop: int | None = None,
    stride: int = 1,
    scale: float = 1.0,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> VideoNodes | None:
    """Put frames of a video into a scene, as a sequence of RGB volumes with a browser.

    In the Red view the picture is upright and not mirrored, one millimetre a pixel. The
    sequence's index is the frame number in `video`; times are kept too. Playback has the
    video's own speed. Frames are decoded while earlier ones are stored. Whenever no nodes are
    returned the scene is as it was.

    Args:
        scene: a ``vtkMRMLScene``.
        video: an open video; it stays open.
        name: name of the nodes; None takes the file's own name.
        start: first frame, from 0.
        stop: frame to stop before; None is the end.
        stride: distance between two frames that are loaded.
        scale: factor above 0 and up to 1 for width and height.
        limit: bytes that may be used; None takes what is free now.
        progress: called after each frame with the frames done and the frames in all.
        should_stop: asked after each frame; true ends the loading.

    Returns:
        The nodes, showing the first frame; None when `should_stop` became true.

    Raises:
        InputError: the range is empty, a value is impossible, or memory is not enough.
        VideoError: the video cannot be read.
    """
    prepare_scene(scene)
    if not isinstance(video, Video):
        raise InputError(f"a video of open_video is needed, got {type(video).__name__}")
    total = _frames_in(video, start, stop, stride)
    check_scale(scale)
    _check_memory(video, total, scale, limit)
    with closing(video.sampled(start, stop, stride, scale)) as frames, NewNodes(scene) as new:
        title = name or Path(video.source).stem or "video"
        sequence = new.add("vtkMRMLSequenceNode", title)
        sequence.SetIndexName("frame")
        sequence.SetIndexUnit("")
        numbers = array("q")
        template = frame_node(sequence.GetName())
        for number, frame in frames:
            item = sequence.SetDataNodeAtValue(template, str(number))
            item.SetAndObserveImageData(image_of(frame))
            numbers.append(number)
            progress(len(numbers), total)
            if sequence.GetScene() is not scene:
                raise InputError(
                    f"the scene was closed while {video.source} was loaded; open the video again"
                )
            if should_stop():
                new.remove()
                return None
        if not numbers:
            raise InputError(f"{video.source}: no frame could be read; choose another range")
        times = video.timestamps[np.asarray(numbers)]
        sequence.SetAttribute(TIMES_ATTRIBUTE, times_to_text(times))
        browser = new.add("vtkMRMLSequenceBrowserNode", f"{title} browser")
        browser.SetIndexDisplayFormat("%.0f")
        browser.SetPlaybackRateFps(playback_rate(video.fps, stride))
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        browser.SetSelectedItemNumber(0)
        nodes = VideoNodes(browser)
        show_as_is(nodes.volume)
        return nodes


def append_frame(video: VideoNodes, pixels: np.ndarray) -> int:
    """Append a frame to a video of `load_video`.

    Args:
        video: the nodes of the video.
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        The index of the new frame.

    Raises:
        InputError: the nodes were deleted, or the picture has another size.
    """
    if pixels.shape != (video.height, video.width, 3):
        raise InputError(
            f"{video.name!r} has {video.width} x {video.height} pixels, "
            f"not {pixels.shape[1]} x {pixels.shape[0]}"
        )
    sequence, frame = video.sequence, video.frame_count
    last = int(sequence.GetNthIndexValue(frame - 1))
    item = sequence.SetDataNodeAtValue(frame_node(video.name), str(last + 1))
    item.SetAndObserveImageData(image_of(pixels))
    return frame


def memory_needed(width: int, height: int, frames: int, scale: float = 1.0) -> int:
    """Return the bytes that a video takes in a scene, with the nodes of its masks.

    Args:
        width: width of a frame in pixels.
        height: height of a frame in pixels.
        frames: number of frames.
        scale: factor for width and height.
    """
    w, h = scaled_size(width, height, scale)
    return frames * (w * h * 3 + BYTES_PER_ITEM)


def frame_node(name: str) -> Any:
    """Return a vector volume for one frame, without an image."""
    node = slicer.vtkMRMLVectorVolumeNode()
    node.SetName(name)
    make_upright(node)
    return node


def make_upright(volume: Any) -> None:
    """Turn a vector volume into an RGB volume that is upright in the Red view.

    That view has the patient's left on its right and anterior on top, hence two flips.
    """
    directions = vtk.vtkMatrix4x4()
    directions.SetElement(0, 0, -1)
    directions.SetElement(1, 1, -1)
    volume.SetVoxelVectorType(volume.VoxelVectorTypeColorRGB)
    volume.SetIJKToRASDirectionMatrix(directions)


def image_of(frame: np.ndarray) -> Any:
    """Return ``vtkImageData`` with a copy of an (H, W, 3) uint8 frame."""
    height, width, _ = frame.shape
    image = vtk.vtkImageData()
    image.SetDimensions(width, height, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    vtk_to_numpy(image.GetPointData().GetScalars()).reshape(frame.shape)[:] = frame
    return image


def show_as_is(volume: Any) -> None:
    """Show a volume in the colours of the file.

    Slicer would stretch them from the darkest to the brightest pixel.
    """
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(255, 127.5)


def _frames_in(video: Video, start: int, stop: int | None, stride: int) -> int:
    for what, value, least in (("start", start, 0), ("stop", stop, 1), ("stride", stride, 1)):
        if value is not None and (not isinstance(value, int) or value < least):
            raise InputError(f"{what} must be a whole number of at least {least}, got {value!r}")
    last = video.frame_count if stop is None else min(stop, video.frame_count)
    if start >= last:
        raise InputError(
            f"no frames from {start} up to before {last}: {video.source} has "
            f"{video.frame_count} frames, 0 to {video.frame_count - 1}"
        )
    return len(range(start, last, stride))


def _check_memory(video: Video, frames: int, scale: float, limit: int | None) -> None:
    free = free_memory() if limit is None else limit
    needed = memory_needed(video.width, video.height, frames, scale)
    if free is None or needed <= free:
        return
    fits = int(free / memory_needed(video.width, video.height, 1, scale))
    raise InputError(
        f"{video.source}: {frames} frames need {needed / 1e9:.1f} GB of memory and "
        f"{free / 1e9:.1f} GB may be used; load at most {fits} frames at a time, every second "
        f"frame, or a smaller picture (scale {scale / 2:g} needs a quarter)"
    )
