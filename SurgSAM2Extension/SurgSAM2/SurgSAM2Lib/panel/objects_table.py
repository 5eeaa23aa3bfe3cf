"""The table of objects: visibility, colour, name, terminology, number of prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.session.session import Session
from SurgSAM2Lib.session.terminology import word_for

VISIBLE, COLOR, NAME, TERM, PROMPTS = range(5)


class ObjectsTable:
    """Shows the objects of a session, and reports what the user selects and edits.

    Args:
        table: the ``QTableWidget``.
        on_select: called with the id of the selected object.
        on_visible: called with an id and whether the object is to be shown.
        on_color: called with the id of the object whose colour was clicked.
        on_name: called with an id and the new name.
    """

    def __init__(
        self,
        table: Any,
        on_select: Callable[[int], Any],
        on_visible: Callable[[int, bool], Any],
        on_color: Callable[[int], Any],
        on_name: Callable[[int, str], Any],
    ) -> None:
        self._table = table
        self._on_select, self._on_visible = on_select, on_visible
        self._on_color, self._on_name = on_color, on_name
        self._ids: list[int] = []
        self._shown: Any = None
        self._filling = False
        table.setColumnCount(5)
        titles = [_("Show"), _("Colour"), _("Name"), _("Terminology"), _("Prompts")]
        table.setHorizontalHeaderLabels(titles)
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        table.connect("itemSelectionChanged()", self._selected)
        table.connect("itemChanged(QTableWidgetItem*)", self._changed)
        table.connect("cellClicked(int,int)", self._clicked)

    def show(self, session: Session | None, selected: int) -> None:
        """Fill the table, unless it shows this state already."""
        rows = (
            [] if session is None else [self._row(session, style.id) for style in session.objects]
        )
        if (rows, selected) == self._shown:
            return
        self._filling = True
        try:
            self._fill(rows)
            self._ids = [row[0] for row in rows]
            self._table.clearSelection()
            if selected in self._ids:
                self._table.selectRow(self._ids.index(selected))
            self._shown = (rows, selected)
        finally:
            self._filling = False

    @staticmethod
    def _row(session: Session, object_id: int) -> tuple[int, bool, str, str, str, int]:
        style = session.objects[object_id]
        prompts = len(session.prompts.frames(object_id))
        visible = session.objects.is_visible(object_id)
        return object_id, visible, style.color, style.name, word_for(style.terminology), prompts

    def _fill(self, rows: list[tuple[int, bool, str, str, str, int]]) -> None:
        self._table.setRowCount(len(rows))
        for number, (_id, visible, color, name, term, prompts) in enumerate(rows):
            eye = self._item(number, VISIBLE, "", editable=False)
            eye.setFlags(eye.flags() | qt.Qt.ItemIsUserCheckable)
            eye.setCheckState(qt.Qt.Checked if visible else qt.Qt.Unchecked)
            swatch = self._item(number, COLOR, "", editable=False)
            swatch.setData(qt.Qt.DecorationRole, qt.QColor(color))
            self._item(number, NAME, name, editable=True)
            self._item(number, TERM, term, editable=False)
            self._item(number, PROMPTS, str(prompts or ""), editable=False)

    def _item(self, row: int, column: int, text: str, editable: bool) -> Any:
        item = qt.QTableWidgetItem(text)
        flags = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
        item.setFlags(flags | qt.Qt.ItemIsEditable if editable else flags)
        self._table.setItem(row, column, item)
        return item

    def _selected(self) -> None:
        row = self._table.currentRow()
        if not self._filling and 0 <= row < len(self._ids):
            self._on_select(self._ids[row])

    def _changed(self, item: Any) -> None:
        if self._filling:
            return
        self._shown = None
        object_id = self._ids[item.row()]
        if item.column() == VISIBLE:
            self._on_visible(object_id, item.checkState() == qt.Qt.Checked)
        elif item.column() == NAME:
            self._on_name(object_id, item.text())

    def _clicked(self, row: int, column: int) -> None:
        if column == COLOR:
            self._on_color(self._ids[row])
