"""`SurgSAM2FileReader`: videos dropped on Slicer, or opened by *Add data* or from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk

from surgsam2.engine.client.engine_video import EngineVideo
from surgsam2.errors import SurgSAM2Error
from surgsam2.mrml import VideoNodes, load_video
from surgsam2.video import Video
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.install.chosen_python import open_in_other_python
from SurgSAM2Lib.panel.dialogs import Progress
from SurgSAM2Lib.session.file_types import VIDEO_SUFFIXES
from SurgSAM2Lib.session.loading_options import LoadingOptions, memory_text
from SurgSAM2Lib.session.opening import open_for_scene
from SurgSAM2Lib.session.views import show_video

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
            with open_for_scene(path, open_in_other_python) as video:
                if _stays_in_file(video, properties):
                    nodes: VideoNodes | None = _stream(path, properties.get("name"))
                else:
                    nodes = _load(video, properties)
        except SurgSAM2Error as error:
            self.parent.userMessages().AddMessage(vtk.vtkCommand.ErrorEvent, str(error))
            return False
        if nodes is None:
            return False
        self.parent.loadedNodes = [nodes.browser.GetID()]
        show_video(nodes.browser)
        _choose_if_none_is(nodes.browser)
        return True


def _load(video: Video, properties: dict[str, Any]) -> VideoNodes | None:
    with Progress(_("Loading the video")) as progress:
        return load_video(
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


def _stays_in_file(video: Video, properties: dict[str, Any]) -> bool:
    """Whether the user wants so, of a whole video that does not fit in memory."""
    _text, fits = memory_text(video, LoadingOptions.everything(video))
    a_part = properties.keys() & {"start", "stop", "stride", "scale"}
    nobody = slicer.util.mainWindow() is None
    if fits or a_part or nobody or isinstance(video, EngineVideo):
        return False
    question = _(
        "{file} does not fit in memory. Work from the file? Its frames stay there; masks are "
        "written into a folder beside it."
    ).format(file=Path(video.source).name)
    return bool(slicer.util.confirmOkCancelDisplay(question, _("SurgSAM2")))


def _stream(path: str, name: str | None) -> VideoNodes:
    from surgsam2.mrml.streaming import stream_video  # needs packages that may be missing

    return stream_video(slicer.mrmlScene, path, name=name)


def _choose_if_none_is(browser: Any) -> None:
    """The panel, when it was opened before, works on this video unless it has another."""
    node = slicer.mrmlScene.GetSingletonNode("SurgSAM2", "vtkMRMLScriptedModuleNode")
    if node is not None and node.GetNodeReference("video") is None:
        node.SetNodeReferenceID("video", browser.GetID())


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
