"""`slicer.modules` and the module manager, with the modules that the extension uses."""

from __future__ import annotations

import types
from typing import Any

import qt
import slicer
from PySide6.QtCore import Signal

_LOGICS = {
    "Sequences": "vtkSlicerSequencesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
}
"""Loadable modules by name, with the class of their logic (from slicer-core)."""


class LoadableModule(qt.QObject):
    """A C++ module with its real logic on the application's scene."""

    def __init__(self, name: str, logic: Any) -> None:
        super().__init__()
        self.setObjectName(name)
        self.title = name
        self._logic = logic

    def logic(self) -> Any:
        return self._logic


class SequencesModule(LoadableModule):
    """The Sequences module, which records what its toolbar shows."""

    def __init__(self, name: str, logic: Any) -> None:
        super().__init__(name, logic)
        self.toolBarVisible = False
        self.autoShowToolBar = True
        self.activeBrowserNodeOfHost: Any = None

    def setToolBarVisible(self, visible: bool) -> None:
        self.toolBarVisible = visible

    def isToolBarVisible(self) -> bool:
        return self.toolBarVisible

    def setToolBarActiveBrowserNode(self, browser: Any) -> None:
        self.activeBrowserNodeOfHost = browser

    def showSequenceBrowser(self, browser: Any) -> bool:
        if self.autoShowToolBar:
            self.setToolBarActiveBrowserNode(browser)
            self.setToolBarVisible(True)
        return self.autoShowToolBar


class ModuleManager(qt.QObject):
    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self, scene: Any, application_logic: Any) -> None:
        super().__init__()
        self._modules: dict[str, Any] = {}
        for name, class_name in _LOGICS.items():
            logic = getattr(slicer, class_name)()
            logic.SetMRMLApplicationLogic(application_logic)
            logic.SetMRMLScene(scene)
            kind = SequencesModule if name == "Sequences" else LoadableModule
            self.add(kind(name, logic))

    def add(self, module: Any) -> None:
        self._modules[module.name] = module
        setattr(modules, module.name.lower(), module)

    def remove(self, name: str) -> None:
        self.moduleAboutToBeUnloaded.emit(name)
        del self._modules[name]
        for attribute in (name.lower(), f"{name}Widget"):
            vars(modules).pop(attribute, None)

    def module(self, name: str) -> Any:
        return self._modules.get(name)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self._modules)


modules = types.SimpleNamespace()
"""`slicer.modules`: lower-case names give modules, `<Name>Widget` a scripted module's widget."""
