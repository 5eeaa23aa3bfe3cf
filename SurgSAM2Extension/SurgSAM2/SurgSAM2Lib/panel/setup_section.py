"""The panel's section *Setup*: the packages that are missing, and the Python of the engine."""

from __future__ import annotations

import qt
import slicer

from surgsam2.engine import EngineClient
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.install.chosen_python import (
    PYTHON_SETTING,
    make_client,
    other_python,
    startup_environment,
)
from SurgSAM2Lib.install.installer import offerInstallation, size_text
from SurgSAM2Lib.install.other_python import checkPython
from SurgSAM2Lib.install.requirements import missingPackages
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.section import Section


class SetupSection(Section):
    """It is open while packages are missing, and installs only after a click and a question.

    Args:
        context: what all sections share.
    """

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self.on_click(self.ui.installButton, self.install)
        self.on_click(self.ui.checkSetupButton, self.check)
        self.on_click(self.ui.checkPythonButton, self.use_python)
        self.ui.pythonPathLineEdit.currentPath = other_python()
        self.ui.setupDetailsButton.connect("toggled(bool)", self.ui.setupDetailsFrame.setVisible)
        self.ui.setupDetailsFrame.hide()
        self.on_click(self.ui.showSetupButton, self.show)
        self.check()

    def show(self) -> None:
        """Show the section, also when nothing is missing."""
        self.ui.setupCollapsibleButton.setVisible(True)
        self.ui.setupCollapsibleButton.collapsed = False

    def check(self) -> None:
        """Check what is installed, and show it."""
        missing = missingPackages()
        python = other_python()
        if python:
            text = _("The engine runs in {python}.").format(python=python)
        elif missing:
            text = _("Tracking needs {count} more Python packages, about {size}.").format(
                count=len(missing), size=size_text(missing)
            )
        else:
            text = _("Everything that is needed is installed.")
        self.ui.setupLabel.text = text
        self.ui.setupDetailsLabel.text = (
            _(
                "Missing: {names}. They are installed into Slicer's own Python after a question. "
                "Without them you can look at videos and masks that are in the scene. Or name "
                "another Python environment that has surgsam2; Slicer's own then stays as it is."
            ).format(names=", ".join(package.name for package in missing))
            if missing
            else _("The engine can run in another Python environment that has surgsam2.")
        )
        self.ui.installButton.enabled = bool(missing)
        self.ui.setupCollapsibleButton.text = _("What is missing") if missing else _("Setup")
        needed = bool(missing) and not python
        self.ui.setupCollapsibleButton.setVisible(needed)
        self.ui.setupCollapsibleButton.collapsed = not needed

    def install(self) -> None:
        """Ask the user, and install what is missing into Slicer's own Python."""

        def tell(text: str) -> None:
            self.ui.setupLabel.text = text
            slicer.app.processEvents()

        offerInstallation(tell)
        self.logic.engine.close()
        self.check()

    def use_python(self) -> None:
        """Run the engine in the Python that the user named, if it works there."""
        python = self.ui.pythonPathLineEdit.currentPath.strip()
        if python:
            self.ui.setupLabel.text = _("Starting the engine there...")
            answer = checkPython(python, slicer.app.processEvents, _client_of)
            if not answer.usable:
                self.ui.setupLabel.text = answer.text
                return
        qt.QSettings().setValue(PYTHON_SETTING, python)
        self.logic.engine.use_client(make_client)
        self.check()
        if python:
            self.ui.setupLabel.text = f"{self.ui.setupLabel.text}<br>{answer.text}"


def _client_of(python: str) -> EngineClient:
    return EngineClient(python, startup_environment())
