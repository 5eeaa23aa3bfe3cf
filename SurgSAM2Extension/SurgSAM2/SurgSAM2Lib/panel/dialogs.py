"""Questions to the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

from SurgSAM2Lib.i18n import _


def ask_file(title: str, filters: str) -> str:
    """Path of an existing file; empty when the user cancelled."""
    return str(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", filters))


def ask_folder(title: str) -> str:
    """Path of an existing folder; empty when the user cancelled."""
    return str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title))


def ask_save(title: str, filters: str, suffix: str) -> str:
    """Path of a file to write, with the suffix; empty when the user cancelled."""
    path = str(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, "", filters))
    return path if not path or Path(path).suffix else path + suffix


def ask_color(color: str) -> str:
    """``#rrggbb``; empty when the user cancelled."""
    chosen = qt.QColorDialog.getColor(qt.QColor(color), slicer.util.mainWindow())
    return str(chosen.name()) if chosen.isValid() else ""


class Progress:
    """A dialog with a bar and a Cancel button around something long.

    Use as a context manager; give `step` and `stopped` to what takes such callbacks.

    Args:
        text: what is being done.
        known_length: False for a bar that only tells that something goes on.
    """

    def __init__(self, text: str, known_length: bool = True) -> None:
        self._text = text
        self._maximum = 100 if known_length else 0
        self._dialog: Any = None

    def __enter__(self) -> Progress:
        self._dialog = slicer.util.createProgressDialog(
            labelText=self._text, windowTitle=_("SurgSAM2"), maximum=self._maximum
        )
        # nothing else can be clicked: what is being loaded must not change meanwhile
        self._dialog.setWindowModality(qt.Qt.ApplicationModal)
        return self

    def __exit__(self, *error: object) -> None:
        self._dialog.close()

    def step(self, done: int, total: int) -> None:
        self._dialog.value = int(self._maximum * done / total)

    def stopped(self) -> bool:
        """Whether *Cancel* was pressed; gives Slicer time for its own events."""
        slicer.app.processEvents()
        return bool(self._dialog.wasCanceled)
