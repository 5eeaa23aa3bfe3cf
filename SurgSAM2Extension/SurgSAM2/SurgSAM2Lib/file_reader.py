"""`SurgSAM2FileReader`: videos dropped on Slicer, or opened by *Add data* or from Python."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from surgsam2.errors import SurgSAM2Error
from surgsam2.mrml import load_video
from SurgSAM2Lib.file_types import VIDEO_SUFFIXES
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.opening import open_for_scene
from SurgSAM2Lib.panel.dialogs import Progress
from SurgSAM2Lib.views import show_video

FILE_TYPE = "SurgicalVideo"
CONFIDENCE = 0.65
"""More than the 0.5 and a few hundredths that a reader gets for a known extension."""


class SurgSAM2FileReader:
    """Loads a video as a sequence of RGB volumes with a browser.

    ``slicer.util.loadNodeFromFile(path, "SurgicalVideo", {"start": 0, "stop": 250,
    "stride": 2, "scale": 0.5})`` loads a part of it; every property may be left out.

    Args:
        parent: Slicer's own reader object.
    """

    def __init__(self, parent: Any) -> None:
        self.parent = parent

    def description(self) -> str:
        return _("Surgical video")

    def fileType(self) -> str:
        return FILE_TYPE

    def extensions(self) -> list[str]:
        return [_("Surgical video") + f" (*{suffix})" for suffix in VIDEO_SUFFIXES]

    def canLoadFileConfidence(self, filePath: str) -> float:
        return CONFIDENCE if self.parent.supportedNameFilters(filePath) else 0.0

    def load(self, properties: dict[str, Any]) -> bool:
        """True when the video is in the scene; else Slicer shows the reason."""
        path = properties["fileName"]
        try:
            with open_for_scene(path) as video, Progress(_("Loading the video")) as progress:
                nodes = load_video(
                    slicer.mrmlScene,
                    video,
                    name=properties.get("name"),
                    start=int(properties.get("start", 0)),
                    stop=_whole(properties.get("stop")),
                    stride=int(properties.get("stride", 1)),
                    scale=float(properties.get("scale", 1.0)),
                    progress=progress.step,
                    should_stop=progress.stopped,
                )
        except SurgSAM2Error as error:
            self.parent.userMessages().AddMessage(vtk.vtkCommand.ErrorEvent, str(error))
            return False
        if nodes is None:
            return False
        self.parent.loadedNodes = [nodes.browser.GetID()]
        show_video(nodes.browser)
        _choose_if_none_is(nodes.browser)
        return True


def _choose_if_none_is(browser: Any) -> None:
    """The panel, when it was opened before, works on this video unless it has another."""
    node = slicer.mrmlScene.GetSingletonNode("SurgSAM2", "vtkMRMLScriptedModuleNode")
    if node is not None and node.GetNodeReference("video") is None:
        node.SetNodeReferenceID("video", browser.GetID())


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
