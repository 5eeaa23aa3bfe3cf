"""A short generated video to try everything out."""

from __future__ import annotations

from surgsam2.errors import MissingDependencyError
from surgsam2.video import Video
from SurgSAM2Lib.i18n import _

NAME = "SurgSAM2 sample"
"""Name of the video in the scene."""
SEED, FRAMES, SIZE = 22, 100, (480, 360)


def sample_video() -> Video:
    """Make a clip of two instruments, of which one comes in later; it takes some seconds.

    Raises:
        MissingDependencyError: a package that draws it is not installed.
    """
    try:
        from surgsam2.data import generate_clip
        from surgsam2.video.arrays import ArrayVideo
    except ImportError as error:
        raise MissingDependencyError(
            _(
                "the sample cannot be made yet: the Python package {package} is missing. Press "
                "'Install...' at the top of the panel."
            ).format(package=error.name)
        ) from error
    pictures, _truth = generate_clip(SEED, frames=FRAMES, size=SIZE, difficulty="easy").arrays()
    return ArrayVideo(pictures, fps=25.0, source=NAME)
