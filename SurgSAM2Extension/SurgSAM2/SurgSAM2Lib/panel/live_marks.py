"""Points and a box in a live picture, or in one that is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer

from SurgSAM2Lib.live.held_picture import HeldPicture
from SurgSAM2Lib.live.live_session import LiveSegmenter
from SurgSAM2Lib.live.source import PictureNode
from SurgSAM2Lib.prompts.markups import (
    BOX,
    NEGATIVE,
    POSITIVE,
    PromptMarkups,
    is_placing,
    start_placing,
    stop_placing,
)


class LiveMarks:
    """Collects marks in a held picture; in a moving one each is sent and taken away again.

    Args:
        live: the session.
        later: does something when Slicer is idle, and shows what is refused.
        send: called with (P, 3) points or None, and a box or None.
    """

    def __init__(
        self,
        live: LiveSegmenter,
        later: Callable[[Callable[[], Any]], None],
        send: Callable[[np.ndarray | None, list[float] | None], None],
    ) -> None:
        self._live, self._later, self._send = live, later, send
        self._held = HeldPicture(slicer.mrmlScene)
        self._points, self._box = np.zeros((0, 3)), None
        self._placing: list[str] = []
        self.markups = PromptMarkups(
            slicer.mrmlScene,
            on_points=lambda points: later(lambda: self._clicked(points)),
            on_box=lambda box: later(lambda: self._drawn(box)),
            on_refusal=lambda text: later(lambda: slicer.util.errorDisplay(text)),
        )

    @property
    def holding(self) -> bool:
        return self._held.volume is not None

    @property
    def outdated(self) -> bool:
        """Whether the held picture is none of the session's any more: it ended or changed size."""
        return self.holding and not (self._live.running and self._live.marking.holding)

    @property
    def picture(self) -> PictureNode:
        """What marks are pixels of: the held picture, else the live one."""
        return PictureNode(self._held.volume or self._live.volume)

    def hold(self) -> Any:
        """Show a picture that stands still; its volume node."""
        return self._held.show(self._live.marking.hold(), self._live.masks.proxy)

    def release(self) -> None:
        """No picture is held any more, and no marks are shown."""
        if self._live.running:
            self._live.marking.release()
        self._held.remove()
        self.clear()

    def place(self, kind: str, on: bool) -> None:
        """The next clicks in a view are marks of this kind, or not any more."""
        if on and self._live.running:
            self._show()
            start_placing(self.markups.node(kind), again=kind != BOX)
        else:
            stop_placing(slicer.mrmlScene)

    def placing(self) -> list[str]:
        """The kind that is being placed, or none; a box that was drawn is taken then."""
        now = [
            kind
            for kind in (POSITIVE, NEGATIVE, BOX)
            if self.markups.has(kind) and is_placing(self.markups.node(kind))
        ]
        if BOX in self._placing and not now:
            self._later(self.markups.placing_ended)
        self._placing = now
        return now

    def clear(self) -> None:
        """Take the marks away; what was sent counts."""
        self._points, self._box = np.zeros((0, 3)), None
        self._show()

    def forget(self) -> None:
        """Take all nodes out of the scene."""
        self._held.remove()
        self.markups.forget()

    def _clicked(self, points: np.ndarray) -> None:
        self._points = points
        self._send_marks()

    def _drawn(self, box: list[float]) -> None:
        self._box = box
        self._send_marks()

    def _send_marks(self) -> None:
        points = self._points if len(self._points) else None
        try:
            if points is not None or self._box is not None:
                self._send(points, self._box)
        finally:
            if not self.holding:
                self.clear()

    def _show(self) -> None:
        if self._live.running:
            self.markups.show(self.picture, self._points, self._box)
