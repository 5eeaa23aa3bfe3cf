"""The volume that another module keeps filling, such as with the pictures of a camera."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from surgsam2.errors import InputError
from surgsam2.mrml.nodes import checked_node, observe, pixel_of, ras_of
from surgsam2.mrml.video_nodes import image_problem
from SurgSAM2Lib.i18n import _


@dataclass(frozen=True, eq=False)
class LivePicture:
    """The picture of a live volume at one moment.

    Attributes:
        pixels: a copy of the picture, (H, W, 3) uint8 RGB.
        stamp: time of the event that announced it, in seconds of `time.perf_counter`.
        ijk_to_ras: ``vtkMatrix4x4`` of the volume at that moment.
    """

    pixels: np.ndarray
    stamp: float
    ijk_to_ras: Any

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


class LiveSource:
    """Counts the changes of a volume's image and copies the image on request.

    Modules rewrite the image in place or set a new one, and cause one event or several by
    it. The image's modification time tells which events are the same change.

    Args:
        volume: a ``vtkMRMLVolumeNode`` such as a vector or streaming volume.

    Raises:
        InputError: the node is no volume, or it was deleted.

    Attributes:
        changes: number of images so far.
        fresh: whether the present image has not been taken yet.
    """

    def __init__(self, volume: Any) -> None:
        self.volume = checked_node(volume, "vtkMRMLVolumeNode", "live volume")
        self.changes = 0
        self.fresh = False
        self._stamp = time.perf_counter()
        self._seen = 0
        events = [volume.ImageDataModifiedEvent, vtk.vtkCommand.ModifiedEvent]
        if isinstance(volume, slicer.vtkMRMLStreamingVolumeNode):
            events.append(volume.FrameModifiedEvent)
        self._ends = [observe(volume, event, self._changed) for event in events]
        self._changed()

    def close(self) -> None:
        """Stop observing."""
        for end in self._ends:
            end()
        self._ends.clear()

    @property
    def lost(self) -> bool:
        """Whether the volume was deleted."""
        return self.volume.GetScene() is None

    @property
    def still_seconds(self) -> float:
        """Seconds since the last new picture."""
        return time.perf_counter() - self._stamp

    @property
    def problem(self) -> str:
        """Why the volume shows no picture; empty when it does."""
        return image_problem(self.volume)

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels; None while there is no picture."""
        if self.problem:
            return None
        width, height = self.volume.GetImageData().GetDimensions()[:2]
        return width, height

    def take(self) -> LivePicture:
        """Return a copy of the picture; the other module may write over it at any time.

        Raises:
            InputError: the volume shows no picture; see `problem`.
        """
        picture = picture_of(self.volume, self._stamp)
        self.fresh = False
        return picture

    def _changed(self) -> None:
        image = self.volume.GetImageData()
        time_of_change = 0 if image is None else image.GetMTime()
        if time_of_change and time_of_change != self._seen:
            self._seen = time_of_change
            self._stamp = time.perf_counter()
            self.changes += 1
            self.fresh = True


class PictureNode:
    """A volume with one picture as what markups lie on: it stands in for `VideoNodes` there."""

    def __init__(self, volume: Any) -> None:
        self._volume = volume

    @property
    def width(self) -> int:
        """Width of the picture in pixels."""
        return int(self._volume.GetImageData().GetDimensions()[0])

    @property
    def height(self) -> int:
        """Height of the picture in pixels."""
        return int(self._volume.GetImageData().GetDimensions()[1])

    def pixel_of(self, ras: Any) -> tuple[float, float]:
        """(x, y) of a point in world coordinates; may lie outside."""
        return pixel_of(self._volume, ras)

    def ras_of(self, x: float, y: float) -> tuple[float, float, float]:
        """World coordinates of the pixel coordinates (x, y)."""
        return ras_of(self._volume, x, y)


def picture_of(volume: Any, stamp: float) -> LivePicture:
    """Return a copy of what a volume shows. Raises `InputError` when it shows no picture."""
    problem = image_problem(volume)
    if problem:
        raise InputError(
            _("{name} cannot be segmented: {problem}").format(
                name=volume.GetName(), problem=problem
            )
        )
    image = volume.GetImageData()
    width, height = image.GetDimensions()[:2]
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
    if values.shape[2] == 1:
        pixels = np.repeat(values, 3, axis=2)
    else:
        pixels = np.array(values[:, :, :3], order="C")
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return LivePicture(pixels, stamp, matrix)
