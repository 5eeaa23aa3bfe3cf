"""A mask that is being corrected by clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surgsam2.errors import PromptError
from surgsam2.prompts import VideoShape
from SurgSAM2Lib.i18n import _


@dataclass(frozen=True, eq=False)
class Correction:
    """The mask before the first click, and all clicks since.

    Every click corrects the same first mask by all of them, so the order of the answers
    does not matter and one click can be taken back.
    """

    mask: np.ndarray
    """(H, W) bool."""
    points: np.ndarray
    """(P, 3): x, y in pixels, label 1 on the object or 0 outside it."""


def check_clicks(points: np.ndarray, video: VideoShape) -> None:
    """Refuse clicks outside the frame.

    Raises:
        PromptError: with the point and what is allowed.
    """
    for x, y, _label in points.tolist():
        if not (-0.5 <= x < video.width - 0.5 and -0.5 <= y < video.height - 0.5):
            raise PromptError(
                _("the point [{x:g}, {y:g}] is outside the {width} x {height} frame").format(
                    x=x, y=y, width=video.width, height=video.height
                )
            )
