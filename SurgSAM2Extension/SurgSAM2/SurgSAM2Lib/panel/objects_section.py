"""The panel's section *Objects and prompts*: the table of objects and their prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import slicer

from SurgSAM2Lib import dialogs
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.class_chooser import ClassChooser
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.icons import prompt_icons
from SurgSAM2Lib.panel.objects_table import ObjectsTable
from SurgSAM2Lib.panel.painting import Painting
from SurgSAM2Lib.panel.placing import PromptPlacing
from SurgSAM2Lib.panel.section import Section, enable, set_checked
from SurgSAM2Lib.prompts.kinds import BOX, LASSO, NEGATIVE, NOT_SCRIBBLE, POSITIVE, SCRIBBLE
from SurgSAM2Lib.session.objects import Objects

CLASSES_FILTER = "CSV (*.csv);;JSON (*.json)"


class ObjectsSection(Section):
    """Edits the objects in a table, and places prompts of the selected one.

    Args:
        context: what all sections share.
        placing: places prompts in the views.
    """

    def __init__(self, context: PanelContext, placing: PromptPlacing) -> None:
        super().__init__(context)
        self._placing = placing
        self._table = ObjectsTable(
            self.ui.objectsTable,
            on_select=context.select_object,
            on_visible=lambda i, on: context.run(lambda: self._objects.set_visible(i, on)),
            on_locked=lambda i, on: context.run(lambda: self.logic.objects.lock(i, on)),
            on_color=lambda i: context.run(lambda: self.change_color(i)),
            on_name=lambda i, name: context.run(lambda: self.restyle(i, name=name)),
        )
        self._place_buttons = {
            POSITIVE: self.ui.positiveButton,
            NEGATIVE: self.ui.negativeButton,
            BOX: self.ui.boxButton,
            SCRIBBLE: self.ui.scribbleButton,
            NOT_SCRIBBLE: self.ui.notScribbleButton,
            LASSO: self.ui.lassoButton,
        }
        for kind, button in self._place_buttons.items():
            button.connect("toggled(bool)", lambda on, kind=kind: placing.place(kind, on))
        self.painting = Painting(context, self.ui.paintFrame)
        self.ui.paintButton.connect("toggled(bool)", self.painting.show)
        icons = prompt_icons()
        for kind, button in {**self._place_buttons, "paint": self.ui.paintButton}.items():
            button.setIcon(icons[kind])
        self._classes = ClassChooser(
            self.ui.classComboBox,
            on_class=lambda name: context.run(lambda: self.choose_class(name)),
            on_list=lambda name: context.run(lambda: self.choose_list(name)),
        )
        for button, action in (
            (self.ui.addObjectButton, self.add),
            (self.ui.removeObjectButton, self.remove),
            (self.ui.segmentEditorButton, self.open_segment_editor),
            (self.ui.useMaskButton, self.use_painted_mask),
            (self.ui.undoButton, self.logic.prompts.undo),
            (self.ui.redoButton, lambda: self.logic.prompts.undo(redo=True)),
            (self.ui.clearFrameButton, self.clear_frame),
        ):
            self.on_click(button, action)

    @property
    def _objects(self) -> Objects:
        return self.logic.currentSession.objects

    def add(self) -> None:
        """Add an object and select it."""
        self.context.select_object(self.logic.objects.add())

    def remove(self) -> None:
        """Remove the selected object after asking."""
        object_id = self.context.selected
        name = self._objects[object_id].name
        question = _("Remove {name} with its prompts and masks on all frames?").format(name=name)
        if slicer.util.confirmOkCancelDisplay(question, _("SurgSAM2")):
            self.logic.objects.remove(object_id)
            left = [style.id for style in self._objects]
            self.context.select_object(left[0] if left else 0)

    def restyle(self, object_id: int, **changes: Any) -> None:
        """Give an object another name or colour on all frames."""
        self._objects.set_style(replace(self._objects[object_id], **changes))

    def change_color(self, object_id: int) -> None:
        """Ask for another colour of an object."""
        color = dialogs.ask_color(self._objects[object_id].color)
        if color:
            self.restyle(object_id, color=color)

    def choose_class(self, name: str) -> None:
        """Give the selected object a class of the list; an empty name takes its class away."""
        self.logic.objects.set_class(self.context.required_object(), name)

    def choose_list(self, source: str) -> None:
        """Use another list of classes, by its name in the package; empty asks for a file."""
        path = source or dialogs.ask_file(_("Open a list of classes"), CLASSES_FILTER)
        if path:
            self.logic.objects.choose_classes(path)

    def open_segment_editor(self) -> None:
        """Open the module Segment Editor with the selected object's segment on this frame."""
        session = self.logic.currentSession
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.SegmentEditorWidget.editor
        editor.setSegmentationNode(session.masks.proxy)
        editor.setSourceVolumeNode(session.video.volume)
        if self.context.selected:
            editor.setCurrentSegmentID(session.objects.segment_id(self.context.selected))

    def use_painted_mask(self) -> None:
        """Make the painted mask on this frame a prompt."""
        self.logic.prompts.set_mask(self.context.required_object())

    def clear_frame(self) -> None:
        """Remove the selected object's prompts on this frame."""
        frame = self.logic.currentSession.video.current_frame
        self.logic.prompts.clear(self.context.required_object(), frame)

    def refresh(self) -> None:
        """Show the objects and the prompts of the selected one."""
        session, selected = self.session, self.context.selected
        no_video = "" if session is not None else _("Open or choose a video first")
        no_object = no_video or ("" if selected else _("Add or select an object first"))
        self._table.show(session, selected)
        enable(self.ui.addObjectButton, no_video)
        for widget in (
            *self._place_buttons.values(), self.ui.removeObjectButton, self.ui.classComboBox,
            self.ui.segmentEditorButton, self.ui.useMaskButton, self.ui.clearFrameButton,
        ):  # fmt: skip
            enable(widget, no_object)
        undoable = session is not None and self.logic.prompts.can_undo
        enable(self.ui.undoButton, "" if undoable else _("There is nothing to undo"))
        redoable = session is not None and session.history.newest(redo=True) is not None
        enable(self.ui.redoButton, "" if redoable else _("There is nothing to redo"))
        locked = session is not None and bool(selected) and selected in session.locks
        enable(self.ui.paintButton, no_object or (_("This object is locked") if locked else ""))
        self.painting.follow()
        set_checked(self.ui.paintButton, self.painting.shown)
        self._show_class()
        self._show_placing()
        self.show_prompts()

    def show_prompts(self) -> None:
        """Show on which frames the selected object has prompts."""
        session, selected = self.session, self.context.selected
        if session is None or not selected:
            self.ui.promptsLabel.text = ""
            return
        frames = session.prompts.frames(selected)
        listed = ", ".join(map(str, frames[:20])) + (", ..." if len(frames) > 20 else "")
        self.ui.promptsLabel.text = (
            _("{name} is marked on frame {frames}").format(
                name=session.objects[selected].name, frames=listed
            )
            if frames
            else _("{name} is not marked yet").format(name=session.objects[selected].name)
        )

    def _show_class(self) -> None:
        session, selected = self.session, self.context.selected
        if session is not None:
            found = session.classes.of(selected) if selected else None
            self._classes.show(session.classes.choices, found.name if found else "")

    def _show_placing(self) -> None:
        for kind, button in self._place_buttons.items():
            set_checked(button, self._placing.is_placing(kind))
