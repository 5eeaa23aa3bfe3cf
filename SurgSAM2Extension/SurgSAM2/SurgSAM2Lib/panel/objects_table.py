"""The table of objects: visibility, colour, name, class, number of prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import qt

from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.session.session import Session

VISIBLE, LOCKED, COLOR, NAME, CLASS, PROMPTS = range(6)
ROW_HEIGHT = 22
"""Height of a row in pixels; the panel is to fit on small screens."""


class _Row(NamedTuple):
    """The values that a row of the table shows for an object."""

    id: int
    visible: bool
    locked: bool
    color: str
    name: str
    class_name: str
    prompts: int


class ObjectsTable:
    """Shows the objects of a session, and reports what the user selects and edits.

    Args:
        table: the ``QTableWidget``.
        on_select: called with the id of the selected object.
        on_visible: called with an id and whether the object is to be shown.
        on_locked: called with an id and whether the object is to be locked.
        on_color: called with the id of the object whose colour was clicked.
        on_name: called with an id and the new name.
    """

    def __init__(
        self,
        table: Any,
        on_select: Callable[[int], Any],
        on_visible: Callable[[int, bool], Any],
        on_locked: Callable[[int, bool], Any],
        on_color: Callable[[int], Any],
        on_name: Callable[[int, str], Any],
    ) -> None:
        self._table = table
        self._on_select, self._on_visible, self._on_locked = on_select, on_visible, on_locked
        self._on_color, self._on_name = on_color, on_name
        self._ids: list[int] = []
        self._shown: Any = None
        self._filling = False
        table.setColumnCount(6)
        titles = [_("Show"), _("Lock"), _("Colour"), _("Name"), _("Class"), _("Prompts")]
        table.setHorizontalHeaderLabels(titles)
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        table.connect("itemSelectionChanged()", self._selected)
        table.connect("itemChanged(QTableWidgetItem*)", self._changed)
        table.connect("cellClicked(int,int)", self._clicked)

    def show(self, session: Session | None, selected: int) -> None:
        """Fill the table, unless it shows this state already."""
        rows = [] if session is None else self._rows(session)
        if (rows, selected) == self._shown:
            return
        self._filling = True
        try:
            self._fill(rows)
            self._ids = [row.id for row in rows]
            self._table.clearSelection()
            if selected in self._ids:
                self._table.selectRow(self._ids.index(selected))
            self._shown = (rows, selected)
        finally:
            self._filling = False

    @staticmethod
    def _rows(session: Session) -> list[_Row]:
        return [
            _Row(
                style.id,
                session.objects.is_visible(style.id),
                style.id in session.locks,
                style.color,
                style.name,
                "" if found is None else found.name,
                len(session.prompts.frames(style.id)),
            )
            for style, found in session.classes.of_objects().items()
        ]

    def _fill(self, rows: list[_Row]) -> None:
        self._table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            self._check_box(number, VISIBLE, row.visible)
            self._check_box(number, LOCKED, row.locked)
            swatch = self._item(number, COLOR, "", editable=False)
            swatch.setData(qt.Qt.DecorationRole, qt.QColor(row.color))
            self._item(number, NAME, row.name, editable=True)
            self._item(number, CLASS, row.class_name, editable=False)
            self._item(number, PROMPTS, str(row.prompts or ""), editable=False)

    def _check_box(self, row: int, column: int, checked: bool) -> None:
        item = self._item(row, column, "", editable=False)
        item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
        item.setCheckState(qt.Qt.Checked if checked else qt.Qt.Unchecked)

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
        elif item.column() == LOCKED:
            self._on_locked(object_id, item.checkState() == qt.Qt.Checked)
        elif item.column() == NAME:
            self._on_name(object_id, item.text())

    def _clicked(self, row: int, column: int) -> None:
        if column == COLOR:
            self._on_color(self._ids[row])
