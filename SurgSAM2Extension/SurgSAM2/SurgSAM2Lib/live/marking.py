"""Marks in a live picture, as prompts for the worker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from surgsam2.mrml import ObjectStyle
from SurgSAM2Lib.live.engine import LiveEngine, LivePrompt
from SurgSAM2Lib.live.source import LivePicture, LiveSource, picture_of


class Marking:
    """Marks are made in the picture that is held, else in the one that is shown now.

    Args:
        source: of the session.
        engine: gets the prompts.
    """

    def __init__(self, source: LiveSource, engine: LiveEngine) -> None:
        self._source, self._engine = source, engine
        self._held: tuple[LivePicture, int | None] | None = None

    @property
    def holding(self) -> bool:
        """Whether a picture is held."""
        return self._held is not None

    def hold(self) -> LivePicture:
        """Hold the picture of now until `release`; segmenting goes on.

        Raises:
            InputError: there is no picture.
        """
        self._held = self._now()
        return self._held[0]

    def release(self) -> None:
        """Hold no picture any more."""
        self._held = None

    def prompt(
        self,
        style: ObjectStyle,
        points: Sequence[Sequence[float]] | np.ndarray | None = None,
        box: Sequence[float] | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        """Begin or correct an object.

        Args:
            style: of the object.
            points: rows of x, y, label (1 belongs to the object, 0 does not), in pixels.
            box: [x0, y0, x1, y1].
            mask: (H, W) bool.

        Raises:
            PromptError: it does not fit the picture, or has no point on the object.
            InputError: there is no picture.
        """
        picture, index = self._held or self._now()
        parts = {"points": points, "box": box, "mask": mask}
        parts |= {"name": style.name, "color": style.color}
        prompt = LivePrompt(style.id, parts, picture.pixels, index)
        prompt.as_set(0).validate(*picture.size)
        self._engine.prompt(prompt)

    def go_on_from(self, style: ObjectStyle, picture: LivePicture, mask: np.ndarray | None) -> None:
        """Begin an object again where it was seen last; not when it was not seen there."""
        if mask is not None and mask.any():
            parts = {"mask": mask, "name": style.name, "color": style.color}
            self._engine.prompt(LivePrompt(style.id, parts, picture.pixels, None))

    def _now(self) -> tuple[LivePicture, int | None]:
        return picture_of(self._source.volume, 0.0), self._engine.newest
