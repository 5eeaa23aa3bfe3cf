"""Marks in a live picture, as prompts for the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from surgsam2.mrml import ObjectStyle
from SurgSAM2Lib.live.engine import LiveEngine, LivePrompt
from SurgSAM2Lib.live.source import LivePicture, LiveSource, picture_of


class Marking:
    """Makes prompts in the picture that is held, or else in the one that is shown.

    Args:
        source: the source of the session's pictures.
        engine: the engine that the prompts are sent to.
    """

    def __init__(self, source: LiveSource, engine: LiveEngine) -> None:
        self._source, self._engine = source, engine
        self._held: tuple[LivePicture, int | None] | None = None

    @property
    def holding(self) -> bool:
        """Whether a picture is held."""
        return self._held is not None

    def hold(self) -> LivePicture:
        """Hold and return the picture that is shown, until `release`. Segmenting goes on.

        Raises:
            InputError: the source shows no picture.
        """
        self._held = self._now()
        return self._held[0]

    def release(self) -> None:
        """End holding a picture."""
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
            style: id, name and colour of the object.
            points: (P, 3) rows of x, y, label (1 on the object, 0 outside it), in pixels.
            box: [x0, y0, x1, y1] in pixels.
            mask: (H, W) bool.

        Raises:
            PromptError: the prompt does not fit the picture, or has no point on the object.
            InputError: the source shows no picture.
        """
        picture, index = self._held or self._now()
        parts = dict(points=points, box=box, mask=mask, name=style.name, color=style.color)
        prompt = LivePrompt(style.id, parts, picture.pixels, index)
        prompt.as_set(0).validate(*picture.size)
        self._engine.prompt(prompt)

    def resume(self, style: ObjectStyle, picture: LivePicture, mask: np.ndarray | None) -> None:
        """Begin an object again with its last mask, (H, W) bool; an empty one is ignored."""
        if mask is not None and mask.any():
            parts = {"mask": mask, "name": style.name, "color": style.color}
            self._engine.prompt(LivePrompt(style.id, parts, picture.pixels, None))

    def _now(self) -> tuple[LivePicture, int | None]:
        return picture_of(self._source.volume, 0.0), self._engine.newest
