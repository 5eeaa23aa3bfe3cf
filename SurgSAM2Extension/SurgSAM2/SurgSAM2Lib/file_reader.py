"""`SurgSAM2FileReader`: reads videos that are dropped on Slicer or opened by *Add data*."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk

from surgsam2.engine.client.engine_video import EngineVideo
from surgsam2.errors import SurgSAM2Error
from surgsam2.mrml import VideoNodes, load_video
from surgsam2.video import VIDEO_SUFFIXES, Video
from SurgSAM2Lib.dialogs import ProgressDialog
from SurgSAM2Lib.files.loading_options import LoadingOptions, memory_text
from SurgSAM2Lib.files.opening import open_for_scene
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.install.chosen_python import open_in_other_python
from SurgSAM2Lib.panel.views import show_video

FILE_TYPE = "SurgicalVideo"
CONFIDENCE = 0.65
"""It exceeds the 0.5 and some hundredths that other readers get for a known extension."""


class SurgSAM2FileReader:
    """Loads a video as a sequence of RGB volumes with a browser.

    ``slicer.util.loadNodeFromFile(path, "SurgicalVideo", {"start": 0, "stop": 250,
    "stride": 2, "scale": 0.5})`` loads a part of it. Every property may be left out.

    Args:
        parent: Slicer's reader object.
    """

    def __init__(self, parent: Any) -> None:
        self.parent = parent

    def description(self) -> str:
        """Return what Slicer calls this kind of file."""
        return _("Surgical video")

    def fileType(self) -> str:
        """Return the key of this reader for `slicer.util.loadNodeFromFile`."""
        return FILE_TYPE

    def extensions(self) -> list[str]:
        """Return the name filters of the files."""
        return [_("Surgical video") + f" (*{suffix})" for suffix in VIDEO_SUFFIXES]

    def canLoadFileConfidence(self, filePath: str) -> float:
        """Return how well this reader suits a file, from 0 to 1."""
        return CONFIDENCE if self.parent.supportedNameFilters(filePath) else 0.0

    def load(self, properties: dict[str, Any]) -> bool:
        """Load a video; return whether it is in the scene. Slicer shows the reason if not."""
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
    with ProgressDialog(_("Loading the video")) as progress:
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
    """Return whether to stream; the user is asked when the video does not fit in memory."""
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
    from surgsam2.mrml.streaming import stream_video  # it needs packages that may be missing

    return stream_video(slicer.mrmlScene, path, name=name)


def _choose_if_none_is(browser: Any) -> None:
    """Let the panel, if it was opened before, use this video unless it has another one."""
    node = slicer.mrmlScene.GetSingletonNode("SurgSAM2", "vtkMRMLScriptedModuleNode")
    if node is not None and node.GetNodeReference("video") is None:
        node.SetNodeReferenceID("video", browser.GetID())
        node.Modified()  # a new reference alone does not tell the panel


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
