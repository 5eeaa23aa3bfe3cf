"""The table of doubtful stretches of frames: object, frames, reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt

from surgsam2.mrml import ObjectStyle
from surgsam2.results.review import JointStretch, Reason
from SurgSAM2Lib.i18n import _

OBJECT, FRAMES, REASON = range(3)


class DoubtfulTable:
    """Shows stretches of one or several objects, and selects the one that a frame belongs to.

    Args:
        table: the ``QTableWidget``.
        on_select: called with the stretch that the user selected.
    """

    def __init__(self, table: Any, on_select: Callable[[JointStretch], None]) -> None:
        self._table = table
        self._on_select = on_select
        self._stretches: list[JointStretch] = []
        self._shown: Any = None
        self._filling = False
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Object"), _("Frames"), _("Reason")])
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(REASON, qt.QHeaderView.Stretch)
        table.connect("itemSelectionChanged()", self._selected)
        table.connect("cellClicked(int,int)", lambda row, column: self._selected())

    @property
    def selected(self) -> JointStretch | None:
        """The stretch of the selected row; None when no row is selected."""
        row = self._table.currentRow()
        chosen = self._shown is not None and 0 <= row < len(self._stretches)
        return self._stretches[row] if chosen else None

    def show(self, stretches: Sequence[JointStretch], styles: Sequence[ObjectStyle]) -> None:
        """Fill the table, unless it shows these stretches and objects already."""
        wanted = (tuple(stretches), tuple(styles))
        if wanted == self._shown:
            return
        known: dict[int | None, ObjectStyle] = {style.id: style for style in styles}
        self._filling = True
        self._stretches, self._shown = list(stretches), wanted
        self._table.setRowCount(len(stretches))
        for row, stretch in enumerate(stretches):
            found = [known[i] for i in stretch.object_ids if i in known]
            names = ", ".join(style.name for style in found)
            item = self._cell(row, OBJECT, names or _("all objects"))
            if len(found) == 1:
                item.setForeground(qt.QBrush(qt.QColor(found[0].color).darker(130)))
            frames = f"{stretch.first} - {stretch.last}"
            self._cell(row, FRAMES, frames if stretch.last > stretch.first else str(stretch.first))
            self._cell(row, REASON, ", ".join(map(_label, stretch.reasons)))
        self._table.clearSelection()
        self._table.setCurrentCell(-1, -1)
        self._filling = False

    def show_frame(self, frame: int) -> None:
        """Select a row that the frame belongs to; keep the selected one when it does."""
        row = self._table.currentRow()
        if 0 <= row < len(self._stretches) and frame in self._stretches[row]:
            return
        rows = (k for k, stretch in enumerate(self._stretches) if frame in stretch)
        wanted = next(rows, -1)
        if wanted == row:
            return
        self._filling = True
        self._table.clearSelection()
        self._table.setCurrentCell(wanted, OBJECT if wanted >= 0 else -1)
        if wanted >= 0:
            self._table.selectRow(wanted)
        self._filling = False

    def _cell(self, row: int, column: int, text: str) -> Any:
        item = qt.QTableWidgetItem(text)
        self._table.setItem(row, column, item)
        return item

    def _selected(self) -> None:
        stretch = self.selected
        if not self._filling and stretch is not None:
            self._on_select(stretch)


def _label(reason: Reason) -> str:
    return {
        Reason.LOW_IOU: _("low predicted IoU"),
        Reason.PRESENCE: _("appears or disappears"),
        Reason.AREA: _("area jumps"),
        Reason.POSITION: _("position jumps"),
        Reason.BAD: _("marked as bad"),
    }[reason]
