"""`slicer.app`: the application, its main window, and the scene with its logics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import qt
import slicer
from PySide6.QtCore import QCoreApplication, Signal

from .file_io import CoreIOManager
from .layout import qSlicerLayoutManager
from .modules import ModuleManager
from .segment_editor import SegmentEditorModule


class qSlicerMainWindow(qt.QMainWindow):
    """The main window; `slicer.util.mainWindow()` finds it by its object name."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = qSlicerModuleSelectorToolBar(self)

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        return self._selector


class qSlicerModuleSelectorToolBar(qt.QToolBar):
    """Chooses the module that is shown, and calls `enter` and `exit` of its widget."""

    moduleSelected = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.selectedModule = ""

    def selectModule(self, name: str) -> None:
        if name == self.selectedModule:
            return
        if name and slicer.app.moduleManager().module(name) is None:
            raise ValueError(f"there is no module {name!r} in this host")
        self._tell("exit")
        self.selectedModule = name
        if name:
            slicer.app.moduleManager().module(name).widgetRepresentation()
        self._tell("enter")
        self.moduleSelected.emit(name)

    def _tell(self, method: str) -> None:
        module = slicer.app.moduleManager().module(self.selectedModule)
        if module is not None:
            getattr(module.widgetRepresentation(), method)()


class qSlicerApplication(qt.QApplication):
    startupCompleted = Signal()

    majorVersion = 5
    minorVersion = 12

    def setUp(self, folder: Path) -> None:
        """Make the objects of the application; `folder` is for settings and temporary files."""
        self._folder = folder
        self._testing = False
        self.setApplicationName("Slicer")
        self.setOrganizationName("surgsam2-tests")
        qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
        for scope in (qt.QSettings.UserScope, qt.QSettings.SystemScope):
            qt.QSettings.setPath(qt.QSettings.IniFormat, scope, str(folder))
        self._settings = qt.QSettings()
        self._scene = _make_scene(folder)
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._logic.SetMRMLScene(self._scene)
        self._layout_manager = qSlicerLayoutManager(self._scene, self._logic)
        self._module_manager = ModuleManager(self._scene, self._logic)
        self._module_manager.add(SegmentEditorModule())
        self._io_manager = CoreIOManager()
        self._main_window = qSlicerMainWindow()
        self.setMainWindowPresent(True)

    def setMainWindowPresent(self, present: bool) -> None:
        """Set whether there is a main window. Only this host has this method."""
        self._main_window.setObjectName("qSlicerMainWindow" if present else "")

    def setTestingEnabled(self, enabled: bool) -> None:
        """Set testing mode, which Slicer itself learns from its command line."""
        self._testing = enabled

    @property
    def temporaryPath(self) -> str:
        return str(self._folder)

    @property
    def documentationBaseUrl(self) -> str:
        return "https://slicer.readthedocs.io/en/latest/"

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def mrmlScene(self) -> Any:
        return self._scene

    def applicationLogic(self) -> Any:
        return self._logic

    def layoutManager(self) -> qSlicerLayoutManager:
        return self._layout_manager

    def moduleManager(self) -> ModuleManager:
        return self._module_manager

    def coreIOManager(self) -> CoreIOManager:
        return self._io_manager

    def ioManager(self) -> CoreIOManager:
        return self._io_manager

    def settings(self) -> Any:
        return self._settings

    def userSettings(self) -> Any:
        return self._settings

    def testingEnabled(self) -> bool:
        return self._testing

    def startupEnvironment(self) -> Any:
        environment = qt.QProcessEnvironment()
        for name, value in os.environ.items():
            environment.insert(name, value)
        return environment

    def translate(self, context: str, text: str) -> str:
        return QCoreApplication.translate(context, text)

    def pauseRender(self) -> None:
        """Do nothing: the host draws no views."""

    def resumeRender(self) -> None:
        """Do nothing: the host draws no views."""


def _make_scene(folder: Path) -> Any:
    """Return a scene with the managers that reading an .mrb file needs."""
    scene = slicer.vtkMRMLScene()
    cache = slicer.vtkCacheManager()
    (folder / "cache").mkdir(exist_ok=True)
    cache.SetRemoteCacheDirectory(str(folder / "cache"))
    scene.SetCacheManager(cache)
    manager = slicer.vtkDataIOManager()
    manager.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    return scene
