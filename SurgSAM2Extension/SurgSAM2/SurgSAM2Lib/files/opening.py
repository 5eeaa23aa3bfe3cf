"""Opening video files in Slicer's Python, where packages may be missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from surgsam2.errors import MissingDependencyError
from surgsam2.video import VIDEO_SUFFIXES, Video
from SurgSAM2Lib.i18n import _

VIDEO_FILTER = ";;".join(
    [
        _("Videos") + " (" + " ".join(f"*{suffix}" for suffix in VIDEO_SUFFIXES) + ")",
        _("DICOM, NRRD and MHA sequences") + " (*.dcm *.nrrd *.nhdr *.mha *.mhd)",
        _("All files") + " (*)",
    ]
)
"""Name filters of a file dialog for videos."""

OpenElsewhere = Callable[[str | Path], Video | None]
"""Opens a video in another Python; returns None when no other Python was chosen."""


def open_nowhere_else(path: str | Path) -> Video | None:
    """Return None: there is no other Python."""
    return None


def open_for_scene(source: Any, open_elsewhere: OpenElsewhere = open_nowhere_else) -> Video:
    """Open a video with `surgsam2.open_video`, or in another Python.

    Args:
        source: what `surgsam2.open_video` takes.
        open_elsewhere: used when Slicer's Python cannot decode the video.

    Raises:
        MissingDependencyError: the package that decodes the video is missing; the message
            tells Slicer's users what to do.
        VideoError: the file is no video.
        InputError: the source is nothing that can be opened.
    """
    import surgsam2

    try:
        return surgsam2.open_video(source)
    except (ImportError, MissingDependencyError) as error:
        if isinstance(source, str | Path):
            video = open_elsewhere(source)
            if video is not None:
                return video
        raise _missing_decoder(source, error) from error


def _missing_decoder(source: Any, error: Exception) -> MissingDependencyError:
    package = getattr(error, "name", None) or str(error)
    shown = Path(source).name if isinstance(source, str | Path) else _("the video")
    return MissingDependencyError(
        _(
            "{file} cannot be read yet: a Python package is missing ({package}). Open the "
            "module SurgSAM2 and press 'Install...', or name another Python there."
        ).format(file=shown, package=package)
    )
