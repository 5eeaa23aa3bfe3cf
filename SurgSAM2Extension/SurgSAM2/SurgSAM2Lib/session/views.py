"""How a video is put before the user's eyes."""

from __future__ import annotations

from typing import Any

import slicer

from surgsam2.errors import SurgSAM2Error
from surgsam2.mrml import VideoNodes


def show_video(browser: Any) -> None:
    """The video in the Red view, filling it, with the toolbar to play it."""
    video = VideoNodes.of(browser)
    layout = slicer.app.layoutManager()
    if layout is not None:
        layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    slicer.util.setSliceViewerLayers(background=video.volume, fit=True)
    slicer.modules.sequences.setToolBarActiveBrowserNode(browser)
    slicer.modules.sequences.setToolBarVisible(True)


def first_video(scene: Any) -> Any:
    """The first sequence browser that has a video; None when there is none."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")
    for number in range(count):
        browser = scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        try:
            return VideoNodes.of(browser).browser
        except SurgSAM2Error:  # of something else, such as a beating heart, or not readable
            continue
    return None
