"""Videos decoded in the other Python that was chosen for the engine."""

from __future__ import annotations

from pathlib import Path

import qt

from surgsam2.video import Video
from surgsam2.worker.worker_video import open_in_worker
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.dialogs import Progress
from SurgSAM2Lib.slicer_logic import PYTHON_SETTING, make_client


def open_in_other_python(path: str | Path) -> Video | None:
    """A video that the other Python decodes; None when the engine runs in Slicer's own.

    Shows a dialog with *Cancel* while that Python starts.

    Raises:
        VideoError, MissingDependencyError: it cannot be read there either.
    """
    if not qt.QSettings().value(PYTHON_SETTING, ""):
        return None
    text = _("Starting the engine to read the video")
    with Progress(text, known_length=False) as progress:
        return open_in_worker(make_client(), path, progress.stopped)
