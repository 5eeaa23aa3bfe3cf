"""Opening a video in Slicer's Python, where packages may be missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from surgsam2.errors import MissingDependencyError
from surgsam2.video import Video
from SurgSAM2Lib.i18n import _

Elsewhere = Callable[[str | Path], Video | None]
"""Opens a video in another Python; None when none was chosen."""


def nowhere_else(path: str | Path) -> Video | None:
    """No other Python."""
    return None


def open_for_scene(source: Any, elsewhere: Elsewhere = nowhere_else) -> Video:
    """`surgsam2.open_video`, with an advice for Slicer's users when a package is missing.

    Args:
        elsewhere: tried when Slicer's Python cannot decode the video.

    Raises:
        MissingDependencyError: what decodes it is not installed in Slicer's Python, nor
            in another.
        VideoError, InputError: it is no video.
    """
    import surgsam2

    try:
        return surgsam2.open_video(source)
    except (ImportError, MissingDependencyError) as error:
        if isinstance(source, str | Path):
            video = elsewhere(source)
            if video is not None:
                return video
        raise missing_decoder(source, error) from error


def missing_decoder(source: Any, error: Exception) -> MissingDependencyError:
    """The error for a video that Slicer's Python cannot decode."""
    package = getattr(error, "name", None) or str(error)
    shown = Path(source).name if isinstance(source, str | Path) else _("the video")
    return MissingDependencyError(
        _(
            "{file} cannot be read yet: a Python package is missing ({package}). Open the "
            "module SurgSAM2 and press 'Install what is missing', or name another Python there."
        ).format(file=shown, package=package)
    )
