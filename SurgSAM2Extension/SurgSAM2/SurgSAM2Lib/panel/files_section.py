"""The panel's section *Export and import*: masks and scenes in files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from SurgSAM2Lib import dialogs
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.section import Section, enable

SCENE_FILTER = "Medical reality bundle (*.mrb)"
COCO_FILTER = "COCO (*.json)"
JSON_FILTER = "JSON (*.json)"
AS_PROMPTS = 1
"""Row of the combo box that imports masks as prompts."""


class FilesSection(Section):
    """Exports and imports masks, and saves the scene.

    Args:
        context: what all sections share.
        ui: the widgets of the review's ``.ui`` file, which has this section too.
    """

    def __init__(self, context: PanelContext, ui: Any) -> None:
        super().__init__(context, ui)
        self._formats = {
            "png": self.ui.pngCheckBox,
            "coco": self.ui.cocoCheckBox,
            "overlay": self.ui.overlayCheckBox,
            "csv": self.ui.csvCheckBox,
        }
        for box in self._formats.values():
            box.connect("toggled(bool)", lambda on: self.refresh())
        self.on_click(self.ui.exportButton, self.export)
        self.on_click(self.ui.saveSceneButton, self.save_scene)
        self.on_click(self.ui.loadPromptsButton, self.load_prompts)
        self.on_click(self.ui.savePromptsButton, self.save_prompts)
        self.on_click(self.ui.importFolderButton, self.import_folder)
        self.on_click(self.ui.importCocoButton, self.import_coco)

    def export(self) -> None:
        """Ask for a folder and export the masks into a new folder in it."""
        parent = dialogs.ask_folder(_("Export into a new folder in"))
        if not parent:
            return
        name = re.sub(r"[^\w.-]+", "_", self.logic.currentSession.video.name)
        folder = Path(parent) / f"{name}_SurgSAM2"
        formats = [name for name, box in self._formats.items() if box.checked]
        with dialogs.ProgressDialog(_("Exporting...")) as progress:
            self.logic.review.export(folder, formats, progress.step, progress.stopped)
            stopped = progress.stopped()
        text = _("Stopped; incomplete: {folder}") if stopped else _("Exported to {folder}")
        self.ui.filesLabel.text = text.format(folder=folder)

    def save_scene(self) -> None:
        """Ask for a file name and save the whole scene."""
        path = dialogs.ask_save(_("Save scene"), SCENE_FILTER, ".mrb")
        if path:
            self.logic.saveScene(path)
            self.ui.filesLabel.text = _("Saved {file}").format(file=path)

    def import_folder(self) -> None:
        """Ask for a folder of label PNGs and import it."""
        self._import(dialogs.ask_folder(_("Import label PNGs")))

    def import_coco(self) -> None:
        """Ask for a COCO file and import it."""
        self._import(dialogs.ask_file(_("Import COCO"), COCO_FILTER))

    def load_prompts(self) -> None:
        """Ask for a prompt file and read it."""
        path = dialogs.ask_file(_("Load prompts"), JSON_FILTER)
        if path:
            self.logic.prompts.load(path)

    def save_prompts(self) -> None:
        """Ask for a file name and write the prompts."""
        path = dialogs.ask_save(_("Save prompts"), JSON_FILTER, ".json")
        if path:
            self.logic.prompts.save(path)

    def _import(self, path: str) -> None:
        if path:
            as_prompts = self.ui.importAsComboBox.currentIndex == AS_PROMPTS
            frames = self.logic.review.import_masks(path, as_prompts)
            self.ui.filesLabel.text = _("Imported the masks of {count} frames").format(
                count=len(frames)
            )

    def refresh(self) -> None:
        """Enable the buttons that can be used now."""
        session = self.session
        problem = "" if session is not None else _("Open or choose a video first")
        for button in (
            self.ui.saveSceneButton,
            self.ui.loadPromptsButton,
            self.ui.savePromptsButton,
        ):
            enable(button, problem)
        if self.logic.engine.tracking is not None:
            problem = problem or _("Tracking is in progress")
        for widget in (self.ui.importFolderButton, self.ui.importCocoButton):
            enable(widget, problem)
        if not any(box.checked for box in self._formats.values()):
            problem = problem or _("Choose at least one format")
        enable(self.ui.exportButton, problem)
