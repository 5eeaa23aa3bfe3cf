"""The panel in a Slicer that is too old. This file must run on Python 3.9."""

from __future__ import annotations

import qt
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget

from SurgSAM2Lib.install.python_version import pythonProblem


class SurgSAM2Widget(ScriptedLoadableModuleWidget):
    """A panel that only says which Slicer is needed."""

    def setup(self) -> None:
        """Show the message."""
        ScriptedLoadableModuleWidget.setup(self)
        label = qt.QLabel(pythonProblem())
        label.wordWrap = True
        self.layout.addWidget(label)
        self.layout.addStretch(1)
