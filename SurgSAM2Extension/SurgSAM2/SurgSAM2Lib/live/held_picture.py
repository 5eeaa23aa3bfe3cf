"""A still picture of the live volume, on which objects can be marked without haste."""

from __future__ import annotations

from typing import Any

from surgsam2.mrml.loading import frame_node, image_of, show_as_is
from surgsam2.mrml.nodes import remove_node
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.live.source import LivePicture


class HeldPicture:
    """A volume node with the picture; the live masks, which keep changing, are hidden.

    Args:
        scene: the ``vtkMRMLScene`` in which the volume is made while a picture is held.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._volume: Any = None
        self._masks: Any = None

    @property
    def volume(self) -> Any:
        """The ``vtkMRMLVectorVolumeNode``; None while no picture is held."""
        held = self._volume
        return held if held is not None and held.GetScene() is self._scene else None

    def show(self, picture: LivePicture, masks: Any) -> Any:
        """Make the volume at the picture's place in space and hide the live segmentation.

        Args:
            picture: the picture to show.
            masks: the ``vtkMRMLSegmentationNode`` of the live masks.

        Returns:
            The ``vtkMRMLVectorVolumeNode``.
        """
        self.remove()
        node = frame_node(_("Held picture"))
        node.SetAndObserveImageData(image_of(picture.pixels))
        node.SetIJKToRASMatrix(picture.ijk_to_ras)
        node.SetSaveWithScene(False)
        self._volume = self._scene.AddNode(node)
        self._volume.SetAndObserveTransformNodeID(masks.GetTransformNodeID())
        show_as_is(self._volume)
        self._masks = masks
        masks.SetDisplayVisibility(False)
        return self._volume

    def remove(self) -> None:
        """Remove the volume and show the live masks again."""
        if self._volume is not None:
            remove_node(self._volume)
        if self._masks is not None and self._masks.GetScene() is self._scene:
            self._masks.SetDisplayVisibility(True)
        self._volume = self._masks = None
