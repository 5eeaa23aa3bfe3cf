"""The Python that was chosen for the engine: Slicer's own, or another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

from surgsam2.engine import EngineClient, default_python
from surgsam2.engine.client.engine_video import open_in_engine
from surgsam2.video import Video
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.dialogs import Progress

PYTHON_SETTING = "SurgSAM2/python"
"""Application setting: path of another Python for the engine; empty for Slicer's own."""


def other_python() -> str:
    """Path of the other interpreter; empty when the engine runs in Slicer's own Python."""
    return qt.QSettings().value(PYTHON_SETTING, "") or ""


def open_in_other_python(path: str | Path) -> Video | None:
    """A video that the other Python decodes; None when the engine runs in Slicer's own.

    Shows a dialog with *Cancel* while that Python starts.

    Raises:
        VideoError, MissingDependencyError: it cannot be read there either.
    """
    if not other_python():
        return None
    text = _("Starting the engine to read the video")
    with Progress(text, known_length=False) as progress:
        return open_in_engine(make_client(), path, progress.stopped)


def make_client() -> EngineClient:
    """A worker in the Python that was chosen in the panel, else in Slicer's own."""
    return EngineClient(engine_python(), startup_environment())


def engine_python() -> str:
    """The interpreter that the engine runs in."""
    return other_python() or default_python()


def startup_environment() -> dict[str, Any]:
    """Slicer's environment without its own library paths, for another program."""
    return dict(slicer.util.startupEnvironment())
