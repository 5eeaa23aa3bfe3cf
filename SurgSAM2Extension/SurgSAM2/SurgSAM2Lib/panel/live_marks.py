"""Points, a box and strokes in a live picture, or in a picture that is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer

from surgsam2.errors import PromptError
from surgsam2.prompts import mask_inside, points_along
from SurgSAM2Lib.live.held_picture import HeldPicture
from SurgSAM2Lib.live.live_session import LiveSegmenter
from SurgSAM2Lib.live.source import PictureNode
from SurgSAM2Lib.prompts.kinds import COLORS, LASSO, SCRIBBLE
from SurgSAM2Lib.prompts.markups import PromptMarkups
from SurgSAM2Lib.prompts.place_mode import stop_placing


class LiveMarks:
    """Collects marks in a held picture; in a moving picture each mark is sent and removed.

    Args:
        live: the live session.
        later: calls an action when Slicer is idle, and shows its errors.
        send: called with the points, (P, 3) rows of x, y in pixels and label, with the box
            x0, y0, x1, y1 in pixels, and with the mask, (H, W) bool; each may be None.
    """

    def __init__(
        self,
        live: LiveSegmenter,
        later: Callable[[Callable[[], Any]], None],
        send: Callable[[np.ndarray | None, list[float] | None, np.ndarray | None], None],
    ) -> None:
        self._live, self._later, self._send = live, later, send
        self._held = HeldPicture(slicer.mrmlScene)
        self._points: np.ndarray = np.zeros((0, 3))
        self._box: list[float] | None = None
        self._placing: list[str] = []  # the kinds that were being placed at the last look
        self.markups = PromptMarkups(
            slicer.mrmlScene,
            on_points=lambda points: later(lambda: self._clicked(points)),
            on_box=lambda box: later(lambda: self._drawn(box)),
            on_stroke=lambda kind, line: later(lambda: self._drew(kind, line)),
            on_refusal=lambda text: later(lambda: slicer.util.errorDisplay(text)),
        )

    @property
    def holding(self) -> bool:
        """Whether a picture is held."""
        return self._held.volume is not None

    @property
    def outdated(self) -> bool:
        """Whether the session that the held picture belongs to has ended or changed size."""
        return self.holding and not (self._live.running and self._live.marking.holding)

    @property
    def picture(self) -> PictureNode:
        """The picture whose pixels marks refer to: the held one, or else the live one."""
        return PictureNode(self._held.volume or self._live.volume)

    def hold(self) -> Any:
        """Hold a picture; return its ``vtkMRMLVectorVolumeNode``."""
        return self._held.show(self._live.marking.hold(), self._live.masks.proxy)

    def release(self) -> None:
        """Remove the held picture and the marks."""
        if self._live.running:
            self._live.marking.release()
        self._held.remove()
        self.clear()

    def place(self, kind: str, on: bool) -> None:
        """Turn the next clicks in a view into marks of a kind; with `on` False stop doing so."""
        if on and self._live.running:
            self._show()
            self.markups.start_placing(kind)
        else:
            stop_placing(slicer.mrmlScene)

    def placing(self) -> list[str]:
        """Return the kinds that are being placed; what was drawn is reported."""
        now = [kind for kind in COLORS if self.markups.is_placing(kind)]
        if self._placing and not now:
            self._later(self.markups.placing_ended)
        self._placing = now
        return now

    def clear(self) -> None:
        """Remove the marks; what was sent stays valid."""
        self._points, self._box = np.zeros((0, 3)), None
        self._show()

    def forget(self) -> None:
        """Remove all nodes from the scene."""
        self._held.remove()
        self.markups.forget()

    def _clicked(self, points: np.ndarray) -> None:
        self._points = points
        self._send_marks()

    def _drawn(self, box: list[float]) -> None:
        self._box = box
        self._send_marks()

    def _drew(self, kind: str, line: np.ndarray) -> None:
        width, height = self.picture.width, self.picture.height
        before = self._points
        try:
            if kind == LASSO:
                stop_placing(slicer.mrmlScene)
                mask = mask_inside(line, width, height)
                self._points, self._box = np.zeros((0, 3)), None  # the mask takes their place
                self._send(None, None, mask)
            else:
                points = points_along(line, width, height)
                rows = np.column_stack([points, np.full(len(points), int(kind == SCRIBBLE))])
                self._points = np.concatenate([before, rows])
                self._send_marks()
        except PromptError:
            self._points = before if self.holding else np.zeros((0, 3))
            raise
        finally:
            self._show()

    def _send_marks(self) -> None:
        points = self._points if len(self._points) else None
        try:
            if points is not None or self._box is not None:
                self._send(points, self._box, None)
        finally:
            if not self.holding:
                self.clear()

    def _show(self) -> None:
        if self._live.running:
            box = None if self._box is None else np.array(self._box)
            self.markups.show(self.picture, self._points, box)
