"""Dialogs: asking for files, folders and colours, and showing progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

from SurgSAM2Lib.i18n import _


def ask_file(title: str, filters: str) -> str:
    """Ask for an existing file; return its path, empty when the user cancelled."""
    return str(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", filters))


def ask_folder(title: str) -> str:
    """Ask for an existing folder; return its path, empty when the user cancelled."""
    return str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title))


def ask_save(title: str, filters: str, suffix: str) -> str:
    """Ask for a file to write; return its path with a suffix, empty when cancelled."""
    path = str(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, "", filters))
    return path if not path or Path(path).suffix else path + suffix


def ask_color(color: str) -> str:
    """Ask for a colour; return it as ``#rrggbb``, empty when the user cancelled."""
    chosen = qt.QColorDialog.getColor(qt.QColor(color), slicer.util.mainWindow())
    return str(chosen.name()) if chosen.isValid() else ""


class ProgressDialog:
    """A dialog with a progress bar and a Cancel button, to be used as a context manager.

    Args:
        text: what is being done.
        known_length: whether the bar shows how much is done, or only that work goes on.
    """

    def __init__(self, text: str, known_length: bool = True) -> None:
        self._text = text
        self._maximum = 100 if known_length else 0
        self._dialog: Any = None

    def __enter__(self) -> ProgressDialog:
        self._dialog = slicer.util.createProgressDialog(
            labelText=self._text, windowTitle=_("SurgSAM2"), maximum=self._maximum
        )
        # the user must not change meanwhile what is being read or written
        self._dialog.setWindowModality(qt.Qt.ApplicationModal)
        return self

    def __exit__(self, *error: object) -> None:
        self._dialog.close()

    def step(self, done: int, total: int) -> None:
        """Show that `done` of `total` steps are done."""
        self._dialog.value = int(self._maximum * done / total)

    def stopped(self) -> bool:
        """Return whether *Cancel* was pressed, after Slicer has handled its events."""
        slicer.app.processEvents()
        return bool(self._dialog.wasCanceled)
