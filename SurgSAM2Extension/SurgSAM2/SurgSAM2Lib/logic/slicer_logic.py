"""`SurgSAM2Logic`: the module's logic in Slicer, with its parameter node and a timer."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.install.chosen_python import make_client, open_in_other_python
from SurgSAM2Lib.logic.core import LogicCore
from SurgSAM2Lib.logic.parameters import SurgSAM2ParameterNode

POLL_MILLISECONDS = 15


class SurgSAM2Logic(LogicCore, ScriptedLoadableModuleLogic):
    """Everything that the module does, on Slicer's scene, with or without the panel.

    While something runs, a timer takes results from the engine, so Slicer stays usable. A
    call with ``wait=True`` returns when its job has ended; views are updated meanwhile.
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        LogicCore.__init__(self, slicer.mrmlScene, make_client, open_in_other_python)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._on_timer)

    def getParameterNode(self) -> Any:
        """Return the settings of the panel as a `SurgSAM2ParameterNode`.

        Settings that this version cannot use, such as those of a scene that another version has
        saved, become the default ones, and a message names them.
        """
        node = ScriptedLoadableModuleLogic.getParameterNode(self)
        unknown = [name for name in node.GetParameterNames() if not _is_usable(node, name)]
        if not unknown:
            return _wrap(node)
        for name in unknown:
            node.UnsetParameter(name)
        text = _(
            "This scene has settings that this version of SurgSAM2 cannot use, probably because "
            "another version has saved it: {names}. The default settings are used in their place; "
            "video, masks and prompts are not affected."
        )
        slicer.util.warningDisplay(text.format(names=", ".join(unknown)), windowTitle="SurgSAM2")
        return _wrap(node)

    def close(self) -> None:
        """End the engine process; for module reload and application exit."""
        self._timer.stop()
        LogicCore.close(self)

    def _on_timer(self) -> None:
        self.processEvents()
        if not self.busy:
            self._timer.stop()

    def _engine_changed(self) -> None:
        if self.busy and not self._timer.active:
            self._timer.start()
        LogicCore._engine_changed(self)

    def _meanwhile(self) -> None:
        slicer.app.processEvents()


def _wrap(node: Any) -> Any:
    wrapper: Any = SurgSAM2ParameterNode  # Slicer's decorator adds the constructor
    return wrapper(node)


def _is_usable(node: Any, name: str) -> bool:
    """Return whether this version can read a setting of a parameter node."""
    alone = slicer.vtkMRMLScriptedModuleNode()
    alone.SetParameter(name, node.GetParameter(name))
    try:
        settings = _wrap(alone)
        if name in settings.allParameters:
            settings.setValue(name, settings.getValue(name))  # Slicer checks choices here only
    except ValueError:
        return False
    return True
