"""Views stored in a scene, for scenes made without Slicer."""

from __future__ import annotations

from typing import Any

import slicer

from surgsam2.mrml.video_nodes import VideoNodes

VIEW = "Red"
"""Name of the slice view that shows the video."""
_ONE_VIEW = f"""<layout type="horizontal"><item>
<view class="vtkMRMLSliceNode" singletontag="{VIEW}"/></item></layout>"""
"""Slicer's layout of one Red view, which is not written into the scene: without Slicer MRML knows
no layouts, and would print a warning about that one."""


def show_in_red(scene: Any, video: VideoNodes) -> Any:
    """Add nodes that make Slicer open the scene with the video filling one Red view.

    Returns:
        The ``vtkMRMLSliceNode``.
    """
    layout = slicer.vtkMRMLLayoutNode()
    layout.SetSingletonTag("vtkMRMLLayoutNode")
    layout.AddLayoutDescription(layout.SlicerLayoutOneUpRedSliceView, _ONE_VIEW)
    layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
    scene.AddNode(layout)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    view = scene.CreateNodeByClass("vtkMRMLSliceNode")
    view.UnRegister(None)
    view.SetSingletonTag(VIEW)
    view.SetName(VIEW)
    view.SetLayoutName(VIEW)
    view = scene.AddNode(view)
    view.SetOrientation("Axial")
    centre = video.ras_of((video.width - 1) / 2, (video.height - 1) / 2)
    view.GetSliceToRAS().SetElement(0, 3, centre[0])
    view.GetSliceToRAS().SetElement(1, 3, centre[1])
    view.GetSliceToRAS().SetElement(2, 3, centre[2])
    view.SetFieldOfView(video.width, video.height, 1)
    view.SetDimensions(video.width, video.height, 1)
    view.UpdateMatrices()
    composite = slicer.vtkMRMLSliceCompositeNode()
    composite.SetSingletonTag(VIEW)
    composite.SetLayoutName(VIEW)
    composite = scene.AddNode(composite)
    composite.SetBackgroundVolumeID(video.volume.GetID())
    return view
