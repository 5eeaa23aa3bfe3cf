"""Masks that are corrected by clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surgsam2.errors import PromptError
from surgsam2.prompts import VideoShape
from SurgSAM2Lib.i18n import _


@dataclass(frozen=True, eq=False)
class Correction:
    """The mask before the first click, and all clicks since.

    The engine always corrects the first mask by all clicks, so a click can be undone and
    the order in which results arrive does not matter.

    Attributes:
        mask: (H, W) bool.
        points: (P, 3) rows of x, y in pixels and label, 1 on the object or 0 outside it.
    """

    mask: np.ndarray
    points: np.ndarray


def check_clicks(points: np.ndarray, video: VideoShape) -> None:
    """Check that clicks are inside the frame.

    Args:
        points: (P, 3) rows of x, y, label.
        video: the size of the video in pixels.

    Raises:
        PromptError: a point is outside the frame.
    """
    for x, y, _label in points.tolist():
        if not (-0.5 <= x < video.width - 0.5 and -0.5 <= y < video.height - 0.5):
            raise PromptError(
                _("the point [{x:g}, {y:g}] is outside the {width} x {height} frame").format(
                    x=x, y=y, width=video.width, height=video.height
                )
            )
