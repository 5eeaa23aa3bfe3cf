"""A video in a scene: its sequence, its browser and the volume that shows one frame."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from surgsam2.errors import InputError
from surgsam2.mrml.nodes import checked_node, pixel_of, prepare_scene, ras_of, remove_node
from surgsam2.storage.json_text import parse_json
from surgsam2.video.base import DEFAULT_FPS

TIMES_ATTRIBUTE = "surgsam2.times"
"""Attribute of a sequence: JSON list, seconds of each item after the start of its source."""
STREAM_ATTRIBUTE = "surgsam2.stream"
"""Attribute of a browser: where the frames of its video are when they are not in the scene."""
_OURS = "surgsam2."  # beginning of the roles of nodes that belong to a video, in small letters


class VideoNodes:
    """A sequence of colour or grey images and its browser, whoever loaded them.

    Pixel (x, y) is voxel (x, y, 0) of the frame's volume, wherever that lies in space.
    `surgsam2.mrml.open_video_nodes` opens videos that are streamed from a file too.

    Args:
        browser: a sequence browser with a video among its sequences.

    Raises:
        InputError: the node is of another kind, was deleted, or has no sequence of single
            images of 8 bits with 1, 3 or 4 components. Every method raises it when the nodes
            have been deleted meanwhile.
    """

    def __init__(self, browser: Any) -> None:
        self._browser = checked_node(browser, "vtkMRMLSequenceBrowserNode", "sequence browser")
        self._scene = browser.GetScene()  # nodes do not keep it alive
        prepare_scene(self._scene)
        self._sequence = self._find_sequence()
        self._height, self._width = self._size()

    @property
    def file(self) -> Path | None:
        """The file or folder that frames are streamed from; None when they are in the scene."""
        return None

    @property
    def scene(self) -> Any:
        """The ``vtkMRMLScene``."""
        return self.browser.GetScene()

    @property
    def browser(self) -> Any:
        """The ``vtkMRMLSequenceBrowserNode``."""
        return checked_node(self._browser, "vtkMRMLSequenceBrowserNode", "sequence browser")

    @property
    def sequence(self) -> Any:
        """The ``vtkMRMLSequenceNode`` of the frames."""
        return checked_node(self._sequence, "vtkMRMLSequenceNode", "video sequence")

    @property
    def volume(self) -> Any:
        """The volume node that shows the current frame (the sequence's proxy)."""
        return checked_node(
            self.browser.GetProxyNode(self.sequence), "vtkMRMLVolumeNode", "video volume"
        )

    @property
    def width(self) -> int:
        """Width of a frame in pixels."""
        return self._width

    @property
    def height(self) -> int:
        """Height of a frame in pixels."""
        return self._height

    @property
    def fps(self) -> float:
        """Frames of the sequence per second of playback; 25 where playback stands still."""
        return playback_rate(self.browser.GetPlaybackRateFps(), 1)

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return int(self.sequence.GetNumberOfDataNodes())

    @property
    def current_frame(self) -> int:
        """Index of the frame that is shown; setting it raises `InputError` outside the video."""
        # the selected item belongs to the master; other sequences follow by index value
        master = self.browser.GetMasterSequenceNode()
        item = self.browser.GetSelectedItemNumber()
        if item < 0 or master is self._sequence:
            return max(0, item)
        value = master.GetNthIndexValue(item)
        return max(0, self.sequence.GetItemNumberFromIndexValue(value, False))

    @current_frame.setter
    def current_frame(self, frame: int) -> None:
        self.check_frame(frame)
        value = self.sequence.GetNthIndexValue(frame)
        master = self.browser.GetMasterSequenceNode()
        self.browser.SetSelectedItemNumber(master.GetItemNumberFromIndexValue(value, False))

    def frame(self, frame: int) -> np.ndarray:
        """Return the pixels of a frame, (H, W, 3) uint8 RGB, read-only.

        They are not copied unless the frame is grey.

        Raises:
            InputError: there is no such frame, or this one image is of another kind.
        """
        pixels = self._pixels(self.check_frame(frame))
        if pixels.shape != (self._height, self._width, pixels.shape[2]):
            raise InputError(
                f"frame {frame} of {self.name!r} has {pixels.shape[1]} x {pixels.shape[0]} pixels, "
                f"the first frame {self._width} x {self._height}; load the video again"
            )
        pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]
        pixels.flags.writeable = False
        return pixels

    def frame_number(self, frame: int) -> int:
        """Return the index of a frame in its source, if `load_video` loaded it, else `frame`."""
        value = self.sequence.GetNthIndexValue(self.check_frame(frame))
        return int(value) if value.isdecimal() and TIMES_ATTRIBUTE in self._attributes else frame

    def time_of(self, frame: int) -> float:
        """Return the seconds of a frame after the start of its source.

        They are computed from the frame rate if no times are stored.
        """
        self.check_frame(frame)
        times = self._times
        return times[frame] if frame < len(times) else frame / self.fps

    @property
    def name(self) -> str:
        """Name of the sequence."""
        return str(self.sequence.GetName())

    def pixel_of(self, ras: Any) -> tuple[float, float]:
        """Return (x, y) in pixels of a point in world RAS coordinates; it may lie outside."""
        return pixel_of(self.volume, ras)

    def ras_of(self, x: float, y: float) -> tuple[float, float, float]:
        """Return the world RAS coordinates of the pixel coordinates (x, y)."""
        return ras_of(self.volume, x, y)

    @cached_property
    def ijk_to_ras(self) -> Any:
        """``vtkMatrix4x4`` of the frames, without transforms they lie under."""
        matrix = vtk.vtkMatrix4x4()
        self.sequence.GetNthDataNode(0).GetIJKToRASMatrix(matrix)
        return matrix

    def check_frame(self, frame: int) -> int:
        """Return `frame` as an int.

        Raises:
            InputError: the video has no such frame.
        """
        if not isinstance(frame, int | np.integer) or not 0 <= frame < self.frame_count:
            raise InputError(
                f"{self.name!r} has {self.frame_count} frames, 0 to {self.frame_count - 1}; "
                f"there is no frame {frame!r}"
            )
        return int(frame)

    def remove(self) -> None:
        """Remove all that was made for the video from the scene; its files stay.

        That is the browser, its sequences, the nodes that show them, prompts and review.
        """
        sequences = vtk.vtkCollection()
        self.browser.GetSynchronizedSequenceNodes(sequences, True)
        nodes = [sequences.GetItemAsObject(i) for i in range(sequences.GetNumberOfItems())]
        proxies = [self.browser.GetProxyNode(node) for node in nodes]
        for node in (self.browser, *proxies, *nodes, *_companions(self.browser)):
            if node is not None:
                remove_node(node)

    @property
    def _attributes(self) -> tuple[str, ...]:
        return tuple(self.sequence.GetAttributeNames())

    @cached_property
    def _times(self) -> list[float]:
        try:
            times = parse_json(self.sequence.GetAttribute(TIMES_ATTRIBUTE) or "[]")
            return [float(time) for time in times]
        except (ValueError, TypeError, OverflowError):
            return []

    def _find_sequence(self) -> Any:
        return _video_sequence(self.browser)

    def _size(self) -> tuple[int, int]:
        height, width = self._pixels(0).shape[:2]
        return height, width

    def _pixels(self, frame: int) -> np.ndarray:
        node = self.sequence.GetNthDataNode(frame)
        problem = image_problem(node)
        if problem:
            raise InputError(f"frame {frame} of {self.name!r} cannot be used: {problem}")
        image = node.GetImageData()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)


def _companions(browser: Any) -> list[Any]:
    """Return the nodes that a browser refers to by a role of ours, and the lines of charts."""
    roles: list[str] = []
    browser.GetNodeReferenceRoles(roles)
    nodes = [browser.GetNodeReference(role) for role in roles if role.lower().startswith(_OURS)]
    charts = [node for node in nodes if isinstance(node, slicer.vtkMRMLPlotChartNode)]
    for chart in charts:
        count = chart.GetNumberOfPlotSeriesNodes()
        nodes += [chart.GetNthPlotSeriesNode(k) for k in range(count)]
    return nodes


def image_problem(node: Any) -> str:
    """Return the reason why a node is no frame of a video; empty when it is one."""
    if not isinstance(node, slicer.vtkMRMLVolumeNode):
        return "it is not a volume"
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        return "it has no image"
    if image.GetDimensions()[2] != 1 or 0 in image.GetDimensions():
        return "it is {} x {} x {} voxels, not a single image".format(*image.GetDimensions())
    if image.GetScalarType() != vtk.VTK_UNSIGNED_CHAR:
        return f"its values are {image.GetScalarTypeAsString()}; convert them to unsigned char"
    components = image.GetNumberOfScalarComponents()
    return "" if components in (1, 3, 4) else f"it has {components} components, not 1, 3 or 4"


def _video_sequence(browser: Any) -> Any:
    """Return the browser's master sequence if it is a video, else the first other that is."""
    sequences = vtk.vtkCollection()
    browser.GetSynchronizedSequenceNodes(sequences, True)
    problems = []
    for i in range(sequences.GetNumberOfItems()):
        sequence = sequences.GetItemAsObject(i)
        if not sequence.GetNumberOfDataNodes():
            problems.append(f"{sequence.GetName()!r} is empty")
            continue
        problem = image_problem(sequence.GetNthDataNode(0))
        if not problem:
            return sequence
        problems.append(f"{sequence.GetName()!r}: {problem}")
    raise InputError(
        f"the sequence browser {browser.GetName()!r} has no video "
        f"({'; '.join(problems) or 'no sequences'}); open a video, or choose another browser"
    )


def times_to_text(times: Iterable[float]) -> str:
    """Return the value of `TIMES_ATTRIBUTE`, to the microsecond."""
    return json.dumps([round(float(time), 6) for time in times])


def playback_rate(fps: float, stride: int) -> float:
    """Return the frames per second of playback, also when the source's rate is not known."""
    return (fps if math.isfinite(fps) and fps > 0 else DEFAULT_FPS) / stride
