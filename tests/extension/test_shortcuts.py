"""The keys of the panel, pressed in real windows of Qt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import slicer
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from tests.extension.test_widget import clip, panel  # noqa: F401 - fixtures
from tests.slicer_host.host import SlicerHost

SHIFT, CONTROL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
KEYS = {
    "T": (Qt.Key.Key_T, Qt.KeyboardModifier.NoModifier),
    "X": (Qt.Key.Key_X, Qt.KeyboardModifier.NoModifier),
    "Shift+D": (Qt.Key.Key_D, SHIFT),
    "Left": (Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier),
    "Shift+Right": (Qt.Key.Key_Right, SHIFT),
    "Home": (Qt.Key.Key_Home, Qt.KeyboardModifier.NoModifier),
}


@pytest.fixture
def window(slicer_app: SlicerHost) -> Iterator[Any]:
    """The main window with a text field, a combo box, a table and a button; it is shown."""
    import qt

    main = slicer.util.mainWindow()
    content = qt.QWidget(main)
    column = qt.QVBoxLayout(content)
    main.text, main.combo = qt.QLineEdit(), qt.QComboBox()
    main.combo.addItem("Tissue")
    main.combo.addItem("Xenon lamp")
    main.table, main.button = qt.QTableWidget(2, 2), qt.QPushButton("Go")
    main.table.setItem(0, 0, qt.QTableWidgetItem("name"))
    for widget in (main.text, main.combo, main.table, main.button):
        column.addWidget(widget)
    content.setGeometry(0, 0, 300, 300)
    content.show()
    main.show()
    main.activateWindow()
    assert QTest.qWaitForWindowActive(main)
    yield main
    content.deleteLater()
    slicer_app.process_events()


@pytest.fixture
def pressed(window: Any, slicer_app: SlicerHost) -> Iterator[list[str]]:
    """The keys that have fired, of shortcuts that are active."""
    from SurgSAM2Lib.panel.shortcuts import Shortcuts

    fired: list[str] = []
    shortcuts = Shortcuts({key: lambda key=key: fired.append(key) for key in KEYS})  # type: ignore[misc]
    shortcuts.activate()
    yield fired
    shortcuts.deactivate()


def focus(widget: Any, host: SlicerHost) -> None:
    """Give a widget the focus."""
    widget.setFocus()
    host.process_events()
    assert slicer.app.focusWidget() is not None


def press(host: SlicerHost, key: str) -> None:
    """Press a key in the widget that has the focus."""
    code, modifiers = KEYS[key]
    QTest.keyClick(slicer.app.focusWidget(), code, modifiers)
    host.process_events()


def test_every_key_fires_once(window: Any, pressed: list[str], slicer_app: SlicerHost) -> None:
    focus(window.button, slicer_app)
    for key in KEYS:
        press(slicer_app, key)
    assert pressed == list(KEYS)


@pytest.mark.parametrize("name", ["text", "combo"])
def test_no_key_fires_where_it_is_typed(
    window: Any, pressed: list[str], slicer_app: SlicerHost, name: str
) -> None:
    focus(getattr(window, name), slicer_app)
    for key in KEYS:
        press(slicer_app, key)
    assert pressed == []
    if name == "text":
        assert window.text.text.lower() == "txd"
    else:
        QTest.qWait(600)  # the combo box takes keys in quick succession for one word
        press(slicer_app, "X")
        assert window.combo.currentText == "Xenon lamp", "the combo box has got its key"
        assert pressed == []
    focus(window.button, slicer_app)
    press(slicer_app, "T")
    assert pressed == ["T"]


def test_no_key_fires_in_the_editor_of_a_table(
    window: Any, pressed: list[str], slicer_app: SlicerHost
) -> None:
    focus(window.table, slicer_app)
    window.table.editItem(window.table.item(0, 0))
    slicer_app.process_events()
    for key in KEYS:
        press(slicer_app, key)
    assert pressed == []


def test_a_table_keeps_its_arrow_keys_only(
    window: Any, pressed: list[str], slicer_app: SlicerHost
) -> None:
    focus(window.table, slicer_app)
    for key in ("Left", "Home", "T"):
        press(slicer_app, key)
    assert pressed == ["T"]


def test_the_keys_step_through_the_video(
    panel: Any, clip: Any, window: Any, slicer_app: SlicerHost
) -> None:
    focus(window.button, slicer_app)
    frames = []
    for code, modifiers in (
        (Qt.Key.Key_Right, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_Right, SHIFT),
        (Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_End, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_Home, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier),
    ):
        QTest.keyClick(window.button, code, modifiers)
        slicer_app.process_events()
        frames.append(panel.logic.session.video.current_frame)
    assert frames == [1, 11, 10, 11, 0, 0]


def test_the_keys_of_the_toolbar_are_not_ambiguous(
    panel: Any, clip: Any, window: Any, slicer_app: SlicerHost
) -> None:
    panel.parent.setParent(window)  # as in the application
    panel.parent.show()
    toolbar = slicer.qMRMLSequenceBrowserPlayWidget(window)
    toolbar.setMRMLSequenceBrowserNode(clip)
    toolbar.show()
    focus(window.button, slicer_app)
    QTest.keyClick(window.button, Qt.Key.Key_Right, SHIFT | CONTROL)
    slicer_app.process_events()
    assert panel.logic.session.video.current_frame == 1
    toolbar.deleteLater()
    panel.parent.setParent(None)
