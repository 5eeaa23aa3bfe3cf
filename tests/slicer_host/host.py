"""`SlicerHost`: installs the stand-ins once, and empties the scene before each test."""

from __future__ import annotations

import os
import sys
import traceback
import types
from pathlib import Path
from typing import Any


class SlicerHost:
    """Gives tests access to dialogs, pip, modules and the errors of slots.

    Only one may exist in a process, because Qt's application and Slicer's scene are unique.
    """

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        import slicer

        from .qt_module import make_qt

        sys.modules["qt"] = make_qt()
        from .ctk_module import make_ctk

        sys.modules["ctk"] = make_ctk()
        _add_widgets(slicer)
        _add_modules(slicer)

        from .application import qSlicerApplication
        from .dialogs import dialogs
        from .modules import modules
        from .pip_stand_in import pip, torch_utils, use_packaging

        self.dialogs, self.pip, self.torch_utils = dialogs, pip, torch_utils
        self.use_packaging = use_packaging
        self.slot_errors: list[str] = []
        slicer.modules = modules
        self.app = slicer.app = qSlicerApplication(["Slicer"])
        slicer.app.setUp(folder)
        slicer.mrmlScene = slicer.app.mrmlScene()
        slicer.selfTests = {}
        self._slicer = slicer
        use_packaging(True)

    def reset(self) -> None:
        """Empty the scene and set the defaults, those of Slicer 5.12; called before each test."""
        self.set_testing(False)
        self.set_main_window(True)
        self.dialogs.reset()
        self.pip.reset()
        self.use_packaging(True)
        self.torch_utils.use(False)
        self.slot_errors.clear()
        self.app.settings().clear()
        sys.excepthook = self._note_error
        self._slicer.mrmlScene.Clear(0)

    def set_testing(self, testing: bool) -> None:
        """Set testing mode, in which no dialogs are shown and nothing is installed."""
        self.app.setTestingEnabled(testing)

    def set_main_window(self, present: bool) -> None:
        """Set whether there is a main window; Slicer's `--no-main-window` gives none."""
        self.app.setMainWindowPresent(present)

    def load_module(self, path: Path) -> Any:
        from .scripted_loading import load_module

        return load_module(path)

    def unload_module(self, name: str) -> None:
        from .scripted_loading import unload_module

        self._slicer.util.selectModule("")
        unload_module(name)

    def process_events(self, rounds: int = 5) -> None:
        """Handle timers, queued signals and deletions."""
        for _ in range(rounds):
            self.app.processEvents()
            self.app.sendPostedEvents(None, 52)  # QEvent.DeferredDelete

    def close(self) -> None:
        """Clean modules up and delete widgets while VTK and Python still work."""
        from .scripted_loading import qSlicerScriptedLoadableModule

        manager = self.app.moduleManager()
        for name in manager.modulesNames():
            if isinstance(manager.module(name), qSlicerScriptedLoadableModule):
                self.unload_module(name)
        self.app.aboutToQuit.emit()
        self._slicer.mrmlScene.Clear(0)
        self.process_events()
        for widget in self.app.topLevelWidgets():
            widget.deleteLater()
        self.process_events()
        sys.excepthook = sys.__excepthook__

    def _note_error(self, kind: type, value: BaseException, trace: Any) -> None:
        """Record an error of a slot or observer, which is printed and not raised."""
        self.slot_errors.append("".join(traceback.format_exception(kind, value, trace)))


def _add_widgets(slicer: Any) -> None:
    from . import mrml_widgets, node_combo_box, segment_editor

    for source in (mrml_widgets, node_combo_box, segment_editor):
        for name, value in vars(source).items():
            if name.startswith(("qMRML", "qSlicer")):
                setattr(slicer, name, value)
    from .scripted_loading import (
        qSlicerScriptedLoadableModule,
        qSlicerScriptedLoadableModuleWidget,
    )

    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget


def _add_modules(slicer: Any) -> None:
    from .source_tree import load_from_source, source_tree

    tree = source_tree()
    if tree is not None:
        load_from_source(slicer, tree)
        return
    from . import scripted_module
    from .i18n import make_i18n
    from .parameter_node import make_package

    made = {"i18n": make_i18n(), "parameterNodeWrapper": make_package()}
    bases = types.ModuleType("slicer.ScriptedLoadableModule", scripted_module.__doc__)
    bases.__all__ = scripted_module.__all__  # type: ignore[attr-defined]
    for name in scripted_module.__all__:
        setattr(bases, name, getattr(scripted_module, name))
    made["ScriptedLoadableModule"] = bases
    for name, module in made.items():
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
