"""Showing a video in the views, and finding one in the scene."""

from __future__ import annotations

from typing import Any

import slicer

from surgsam2.errors import SurgSAM2Error
from surgsam2.mrml import open_video_nodes


def show_video(browser: Any) -> None:
    """Show a video in the Red view, with the toolbar that plays it."""
    video = open_video_nodes(browser)
    layout = slicer.app.layoutManager()
    if layout is not None:
        layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    slicer.util.setSliceViewerLayers(background=video.volume, fit=True)
    slicer.modules.sequences.setToolBarActiveBrowserNode(browser)
    slicer.modules.sequences.setToolBarVisible(True)


def first_video(scene: Any) -> Any:
    """Return the first sequence browser of the scene that has a video; None without one."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")
    for number in range(count):
        browser = scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        try:
            return open_video_nodes(browser).browser
        except SurgSAM2Error:  # its sequence is no video, or its files are missing
            continue
    return None
