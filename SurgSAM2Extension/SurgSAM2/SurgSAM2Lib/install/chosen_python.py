"""Where the engine runs: in Slicer's own Python, in another one, or on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

from surgsam2.engine import EngineClient, default_python
from surgsam2.engine.client.engine_video import open_in_engine
from surgsam2.video import Video
from SurgSAM2Lib.dialogs import ProgressDialog
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.install.remote_engine import saved_remote_engine

PYTHON_SETTING = "SurgSAM2/python"
"""Application setting: path of another Python for the engine; empty for Slicer's own."""


def other_python() -> str:
    """Return the path of the other interpreter; empty when Slicer's own is used."""
    return qt.QSettings().value(PYTHON_SETTING, "") or ""


def open_in_other_python(path: str | Path) -> Video | None:
    """Open a video that the other Python decodes; return None when the user chose none.

    A dialog with *Cancel* is shown while that Python starts.

    Raises:
        VideoError: the video cannot be read.
        MissingDependencyError: a package is missing in the other Python, too.
    """
    if not other_python():
        return None
    text = _("Starting the engine to read the video")
    with ProgressDialog(text, known_length=False) as progress:
        return open_in_engine(_local_client(), path, progress.stopped)


def make_client() -> EngineClient:
    """Return a client of an engine at the place that was chosen in the panel.

    Raises:
        InputError: the token for another machine cannot be read.
    """
    remote = saved_remote_engine()
    return _local_client() if remote is None else remote.client(startup_environment())


def _local_client() -> EngineClient:
    return EngineClient(engine_python(), startup_environment())


def engine_python() -> str:
    """Return the path of the interpreter that the engine runs in."""
    return other_python() or default_python()


def startup_environment() -> dict[str, Any]:
    """Return Slicer's environment without its library paths, for another program."""
    return dict(slicer.util.startupEnvironment())
