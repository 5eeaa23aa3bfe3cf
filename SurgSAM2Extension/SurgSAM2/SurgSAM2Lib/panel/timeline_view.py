"""Drawing the timeline, and selecting frames in it with the mouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import qt

from surgsam2.storage.palette import rgb_of
from SurgSAM2Lib.session.timeline import State

ROW, GAP, SWATCH = 10, 3, 8
"""Height of a row, space below it, and width of the object's colour at its left, in pixels."""
_COLORS = {
    State.UNKNOWN: (226, 226, 226),
    State.TRACKED: (150, 158, 168),
    State.ABSENT: (70, 74, 80),
    State.GOOD: (67, 160, 71),
    State.DOUBTFUL: (214, 69, 65),
    State.PROMPTED: (33, 118, 210),
    State.CORRECTED: (240, 180, 30),
}
_PALETTE = np.array([_COLORS[state] for state in State], np.uint8)
_CURSOR, _SELECTION = (0, 0, 0), (120, 80, 200)


class TimelineView:
    """Shows the states of all objects in a label, and reports clicks and drags.

    Args:
        label: the ``QLabel`` to draw in.
        on_frame: called with the frame that the user clicked, and while dragging.
        on_range: called with the first and the last frame of a range that was dragged.
    """

    def __init__(
        self,
        label: Any,
        on_frame: Callable[[int], None],
        on_range: Callable[[int, int], None],
    ) -> None:
        self._label = label
        self._on_frame, self._on_range = on_frame, on_range
        self._frame_count = 0
        self._pressed: int | None = None
        self._shown: tuple[Any, Any, int, tuple[int, int] | None] | None = None
        self._filter = _MouseFilter(self)
        label.installEventFilter(self._filter)

    def show(
        self,
        rows: Sequence[np.ndarray],
        colors: Sequence[str],
        frame: int,
        selection: tuple[int, int] | None,
    ) -> None:
        """Draw the timeline.

        Args:
            rows: the states of each object, (frame_count,) uint8.
            colors: the colour of each object, ``#rrggbb``.
            frame: the frame that is shown.
            selection: first and last frame of the selected range; None for no range.
        """
        self._label.setVisible(bool(len(rows)))
        if not len(rows):
            self._frame_count, self._shown = 0, None
            return
        self._frame_count = len(rows[0])
        self._label.setFixedHeight(len(rows) * (ROW + GAP) + GAP)
        self._shown = (rows, colors, frame, selection)
        self.redraw()

    def redraw(self) -> None:
        """Draw the timeline again, because its width has changed."""
        if self._shown is None:
            return
        image = draw(*self._shown, max(self._label.width, 100))
        pixmap = qt.QPixmap()
        pixmap.loadFromData(qt.QByteArray(_as_ppm(image)), "PPM")
        self._label.setPixmap(pixmap)

    def press(self, x: int) -> None:
        """Show the frame at a horizontal position, where a drag may begin."""
        if self._frame_count:
            self._pressed = self._frame_at(x)
            self._on_frame(self._pressed)

    def move(self, x: int) -> None:
        """Show the frame at a horizontal position while the button is held."""
        if self._pressed is not None:
            self._on_frame(self._frame_at(x))

    def release(self, x: int) -> None:
        """End a drag, which selects a range unless it stayed on one frame."""
        if self._pressed is not None:
            first, last = sorted((self._pressed, self._frame_at(x)))
            self._pressed = None
            if last > first:
                self._on_range(first, last)

    def _frame_at(self, x: int) -> int:
        width = max(self._label.width - SWATCH, 1)
        frame = int((x - SWATCH) * self._frame_count / width)
        return min(max(frame, 0), self._frame_count - 1)


class _MouseFilter(qt.QObject):
    """Passes mouse events of a label on to a `TimelineView`."""

    def __init__(self, view: TimelineView) -> None:
        qt.QObject.__init__(self)
        self._view = view

    def eventFilter(self, _label: Any, event: Any) -> bool:
        """Take presses, moves and releases of a mouse button, and resizing; Qt calls this."""
        kind = event.type()
        if kind == qt.QEvent.MouseButtonPress:
            self._view.press(event.pos().x())
        elif kind == qt.QEvent.MouseMove:
            self._view.move(event.pos().x())
        elif kind == qt.QEvent.MouseButtonRelease:
            self._view.release(event.pos().x())
        elif kind == qt.QEvent.Resize:
            self._view.redraw()
            return False
        else:
            return False
        return True


def draw(
    rows: Sequence[np.ndarray],
    colors: Sequence[str],
    frame: int,
    selection: tuple[int, int] | None,
    width: int,
) -> np.ndarray:
    """Return the picture of a timeline, (height, width, 3) uint8 RGB.

    Where several frames share a column of pixels, the one with the largest state is shown.
    The arguments are those of `TimelineView.show`, and the width in pixels.
    """
    frame_count, columns = len(rows[0]), width - SWATCH
    height = len(rows) * (ROW + GAP) + GAP
    image = np.full((height, width, 3), 255, np.uint8)
    starts = np.arange(columns) * frame_count // columns
    for k, (row, color) in enumerate(zip(rows, colors, strict=True)):
        top = GAP + k * (ROW + GAP)
        states = np.maximum.reduceat(row, starts) if columns < frame_count else row[starts]
        image[top : top + ROW, SWATCH:] = _PALETTE[states]
        image[top : top + ROW, : SWATCH - 2] = rgb_of(color)
    if selection is not None:
        first, last = (_column(index, frame_count, columns) for index in selection)
        image[:GAP, SWATCH + first : SWATCH + last + 1] = _SELECTION
        image[-GAP:, SWATCH + first : SWATCH + last + 1] = _SELECTION
    cursor = SWATCH + _column(frame, frame_count, columns)
    image[:, cursor : cursor + 2] = _CURSOR
    return image


def _column(frame: int, frame_count: int, columns: int) -> int:
    return frame * columns // frame_count


def _as_ppm(image: np.ndarray) -> bytes:
    """Return a picture as a PPM file, which every Qt reads without a plugin."""
    height, width = image.shape[:2]
    return b"P6 %d %d 255\n" % (width, height) + image.tobytes()
