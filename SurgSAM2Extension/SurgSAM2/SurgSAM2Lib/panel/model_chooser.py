"""The choice of the model: the built-in one, a known checkpoint, a file or a bundle folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from SurgSAM2Lib.i18n import _

BUILT_IN = "demo"
"""Name by which `load_model` knows the built-in model."""


class ModelChooser:
    """A combo box of models whose last entry shows a field for a path.

    Args:
        combo: the ``QComboBox``.
        path_edit: the ``ctkPathLineEdit``, shown for the last entry only.
        on_change: called with the name or path after the user has chosen.
    """

    def __init__(self, combo: Any, path_edit: Any, on_change: Callable[[str], None]) -> None:
        self._combo, self._path_edit, self._on_change = combo, path_edit, on_change
        self._names = [BUILT_IN, *known_models()]
        self._showing = False  # whether `show`, not the user, is changing the widgets
        for name in self._names:
            combo.addItem(_("Built-in (for trying out)") if name == BUILT_IN else name)
        combo.addItem(_("A file or bundle folder..."))
        combo.connect("currentIndexChanged(int)", self._chosen)
        path_edit.connect("currentPathChanged(QString)", self._chosen)

    def show(self, model: str) -> None:
        """Show a name or path as the choice."""
        self._showing = True
        try:
            is_path = model not in self._names
            self._combo.currentIndex = len(self._names) if is_path else self._names.index(model)
            if is_path and self._path_edit.currentPath != model:
                self._path_edit.currentPath = model
            self._path_edit.setVisible(is_path)
        finally:
            self._showing = False

    def _chosen(self, _value: Any = None) -> None:
        if self._showing:
            return
        index = self._combo.currentIndex
        known = index < len(self._names)
        self._path_edit.setVisible(not known)
        self._on_change(self._names[index] if known else self._path_edit.currentPath.strip())


def known_models() -> dict[str, Any]:
    """Return the `KnownCheckpoint` of each known name; no entry while packages are missing."""
    try:
        from surgsam2.model.zoo import known_checkpoints
    except ImportError:
        return {}
    return dict(known_checkpoints())


def model_problem(model: str) -> str:
    """Return why a model cannot be loaded and what to do; empty when no reason is known."""
    if not model:
        return _("Name a checkpoint file or a bundle folder")
    entry = known_models().get(model)
    if entry is not None:
        if entry.path.is_file():
            return ""
        if entry.url:
            return _("This model is not on this computer yet: press 'Download this model'")
        return _("Get the weights from {source}, and put them at {path}").format(
            source=entry.source, path=entry.path
        )
    if model != BUILT_IN and not Path(model).expanduser().exists():
        return _("There is no file or folder {path}").format(path=model)
    return ""
