"""The panel in a Slicer whose Python is too old. Runs on Python 3.9."""

from __future__ import annotations

import qt
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget

from SurgSAM2Lib.install.python_version import pythonProblem


class SurgSAM2Widget(ScriptedLoadableModuleWidget):
    """Says which Slicer is needed, and nothing else."""

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        label = qt.QLabel(pythonProblem())
        label.wordWrap = True
        self.layout.addWidget(label)
        self.layout.addStretch(1)
