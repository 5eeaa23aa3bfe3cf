"""Slicer's own Python files, taken from a source tree of Slicer that the tester names.

The environment variable ``SLICER_SOURCE`` names the tree. The host then uses its base classes,
parameter node wrapper and translations instead of the stand-ins, so the tests of the panel run
on the code that users have. Nothing of Slicer is kept in this repository.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import types
from pathlib import Path
from typing import Any

VARIABLE = "SLICER_SOURCE"
NAMES = ("i18n", "parameterNodeWrapper", "ScriptedLoadableModule")


def source_tree() -> Path | None:
    """Return the source tree of Slicer that the environment names; None when it names none."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def load_from_source(slicer: Any, tree: Path) -> None:
    """Make Slicer's own modules of the source tree available as ``slicer.<name>``.

    Raises:
        FileNotFoundError: the folder is no source tree of Slicer.
    """
    folder = tree / "Base" / "Python" / "slicer"
    _add_missing_widgets(slicer, folder / "parameterNodeWrapper")
    for name in NAMES:
        package = folder / name / "__init__.py"
        path = package if package.is_file() else folder / f"{name}.py"
        if not path.is_file():
            raise FileNotFoundError(f"{VARIABLE}={tree} is no source tree of Slicer: no {path}")
        setattr(slicer, name, _load(f"slicer.{name}", path, is_package=path is package))


def _add_missing_widgets(slicer: Any, folder: Path) -> None:
    """Add empty classes for the widgets that the wrapper knows and the host does not have."""
    import ctk
    import qt

    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for module, prefix in ((ctk, "ctk"), (slicer, "slicer")):
        for name in set(re.findall(rf"\b{prefix}\.((?:ctk|qMRML|qSlicer)\w+)", text)):
            if not hasattr(module, name):
                setattr(module, name, type(name, (qt.QWidget,), {}))


def _load(name: str, path: Path, is_package: bool) -> types.ModuleType:
    places = [str(path.parent)] if is_package else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=places)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
