"""Section *Advanced*: what the engine is, and saving the scene."""

from __future__ import annotations

from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel import dialogs
from SurgSAM2Lib.panel.section import Section, enable


class AdvancedSection(Section):
    """Its settings are bound to the parameter node by the .ui file."""

    def connect(self) -> None:
        self.on_click(self.ui.restartEngineButton, self.logic.engine.close)
        self.on_click(self.ui.saveSceneButton, self.save_scene)

    def save_scene(self) -> None:
        path = dialogs.ask_save(_("Save scene"), "MRB (*.mrb)", ".mrb")
        if path:
            self.logic.saveScene(path)

    def refresh(self) -> None:
        ready, model = self.logic.engine.ready, self.logic.engine.model
        if ready is None:
            self.ui.engineLabel.text = _("not running")
            enable(self.ui.restartEngineButton, _("The engine is not running"))
            return
        enable(self.ui.restartEngineButton)
        text = _("Python {python}, torch {torch}").format(python=ready.python, torch=ready.torch)
        if model is not None:
            text += "<br>" + _("{name} on {device}, {dtype}, {size} pixels").format(
                name=model.name, device=model.device, dtype=model.dtype, size=model.image_size
            )
        self.ui.engineLabel.text = text
