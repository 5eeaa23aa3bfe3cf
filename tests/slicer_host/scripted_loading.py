"""Loading a scripted module: the C++ side of the module and its panel."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import qt
import slicer

from .declare import with_properties
from .file_io import ScriptedFileReader
from .mrml_widgets import qSlicerWidget


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """The panel. `setPythonSource` makes its Python object, and `setup` fills it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._python: Any = None
        self.isEntered = False
        qt.QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)

    def self(self) -> Any:
        return self._python

    def setPythonSource(self, path: str) -> None:
        name = Path(path).stem
        self._python = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._python)

    def reload(self) -> None:
        self.setPythonSource(self._path)
        self.setup()

    def setup(self) -> None:
        self._python.setup()

    def enter(self) -> None:
        self.isEntered = True
        self._call("enter")

    def exit(self) -> None:
        self.isEntered = False
        self._call("exit")

    def _call(self, method: str) -> None:
        if hasattr(self._python, method):
            getattr(self._python, method)()


class qSlicerScriptedLoadableModule(
    with_properties(
        qt.QObject,
        title="",
        categories=[],
        contributors=[],
        associatedNodeTypes=[],
        helpText="",
        acknowledgementText="",
        dependencies=[],
        hidden=False,
        index=-1,
        widgetRepresentationCreationEnabled=True,
    )
):
    """The module, which the module class in Python gets as `parent`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)
        self.icon = qt.QIcon()
        self.setObjectName(path.stem)
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget | None:
        """Return the module's only panel, which is made at the first call."""
        if self._widget is None and self.widgetRepresentationCreationEnabled:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        widget = qSlicerScriptedLoadableModuleWidget(self.path)
        widget.setPythonSource(self.path)
        widget.setup()
        return widget

    def forgetWidget(self) -> None:
        if self._widget is not None:
            self._widget.deleteLater()
            self._widget = None


def load_module(path: Path) -> qSlicerScriptedLoadableModule:
    """Load a module as Slicer does at its start, up to `startupCompleted()`.

    Only the module's own folder is put on `sys.path`.
    """
    name = path.stem
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules[name] = code
    spec.loader.exec_module(code)
    module = qSlicerScriptedLoadableModule(path)
    module.pythonHalf = getattr(code, name)(module)
    reader_class = getattr(code, f"{name}FileReader", None)
    if reader_class is not None:
        slicer.app.coreIOManager().register(ScriptedFileReader(reader_class))
    slicer.app.moduleManager().add(module)
    slicer.app.moduleManager().moduleLoaded.emit(name)
    slicer.app.startupCompleted.emit()
    return module


def unload_module(name: str) -> None:
    """Unload a module as Slicer does at its end: clean its widget up and delete it."""
    module = slicer.app.moduleManager().module(name)
    slicer.app.moduleManager().remove(name)
    module.forgetWidget()
    del sys.modules[name]
