"""The panel's section *Segment live*, which controls a live session."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from surgsam2.errors import InputError
from surgsam2.tracking.options import TrackingOptions
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.live.statistics import LiveStatistics
from SurgSAM2Lib.logic.option_names import options_of, parameter_name
from SurgSAM2Lib.panel.context import PanelContext, later
from SurgSAM2Lib.panel.icons import prompt_icons
from SurgSAM2Lib.panel.live_marks import LiveMarks
from SurgSAM2Lib.panel.section import Section, enable, set_checked
from SurgSAM2Lib.panel.views import show_picture
from SurgSAM2Lib.prompts.kinds import BOX, LASSO, NEGATIVE, NOT_SCRIBBLE, POSITIVE, SCRIBBLE

REFRESH = 8
"""The shown rate and latency are updated after this number of pictures."""


class LiveSection(Section):
    """Starts and stops a live session, marks objects in it, and shows how fast it is.

    A mark is a point, a box or a stroke that the user draws in the live picture or in a held one,
    which is a copy of the live picture that does not change.

    Args:
        context: what all sections share.
        ui: the widgets of the section's ``.ui`` file.

    Attributes:
        selected: id of the object that marks are for; 0 for none.
    """

    def __init__(self, context: PanelContext, ui: Any) -> None:
        super().__init__(context, ui)
        self.live = self.logic.live
        self.live.on_message = self._show_message
        self.live.on_picture = self._show_progress
        self.selected = 0
        self._pictures = 0
        self._shown: Any = None  # the state that the widgets show; None when it is unknown
        self.marks = LiveMarks(self.live, self._later, self._send)
        self._kind_buttons = {
            POSITIVE: self.ui.livePositiveButton,
            NEGATIVE: self.ui.liveNegativeButton,
            BOX: self.ui.liveBoxButton,
            SCRIBBLE: self.ui.liveScribbleButton,
            NOT_SCRIBBLE: self.ui.liveNotScribbleButton,
            LASSO: self.ui.liveLassoButton,
        }
        self._connect_buttons()
        icons = prompt_icons()
        for kind, button in self._kind_buttons.items():
            button.setIcon(icons[kind])
        self.refresh()

    def _connect_buttons(self) -> None:
        ui = self.ui
        ui.liveButton.connect("toggled(bool)", self._toggled(self.switch))
        ui.liveHoldButton.connect("toggled(bool)", self._toggled(self.hold))
        ui.liveRecordButton.connect("toggled(bool)", self._toggled(self.record))
        self.on_click(ui.addLiveObjectButton, self.add_object)
        self.on_click(ui.removeLiveObjectButton, self.remove_object)
        ui.liveObjectComboBox.connect("activated(int)", self._chosen)
        ui.liveNameEdit.connect("editingFinished()", self.rename)
        ui.liveVolumeSelector.connect("currentNodeChanged(bool)", lambda _on: self.refresh())
        for kind, button in self._kind_buttons.items():
            button.connect("toggled(bool)", lambda on, kind=kind: self._place(kind, on))

    def switch(self, on: bool) -> None:
        """Start or stop the session."""
        if not on:
            self.logic.stopLive()
            return
        volume = self.ui.liveVolumeSelector.currentNode()
        options = options_of(self.context.parameters, TrackingOptions).as_mapping()
        self.logic.startLive(volume, **{parameter_name(k): v for k, v in options.items()})
        show_picture(volume)
        if not len(self.live.objects):
            self.logic.addLiveObject()

    def hold(self, on: bool) -> None:
        """Show a held picture, in which objects can be marked, or show the live picture again."""
        if on:
            show_picture(self.marks.hold())
        else:
            self._release()

    def _release(self) -> None:
        self.marks.release()
        volume = self.live.volume or self.ui.liveVolumeSelector.currentNode()
        if volume is not None and volume.GetScene() is not None:
            show_picture(volume)

    def record(self, on: bool) -> None:
        """Start or end a recording."""
        if on:
            self.logic.recordLive(self.ui.liveLimitSpinBox.value)
        else:
            self.logic.stopRecordingLive()

    def add_object(self) -> None:
        """Add an object and select it."""
        self.selected = self.logic.addLiveObject()
        self.marks.clear()

    def remove_object(self) -> None:
        """Remove the selected object."""
        self.logic.removeLiveObject(self.selected)
        self.marks.clear()

    def rename(self) -> None:
        """Give the selected object the name in the line edit."""
        name = self.ui.liveNameEdit.text.strip()
        if not self.selected or name == self.live.objects[self.selected].name:
            return
        objects = self.live.objects
        self.context.run(lambda: objects.set_style(replace(objects[self.selected], name=name)))
        self._shown = None  # so that a refused name is replaced by the former one
        self.refresh()

    def _chosen(self, index: int) -> None:
        self.selected = int(self.ui.liveObjectComboBox.itemData(index) or 0)
        self.marks.clear()

    def _place(self, kind: str, on: bool) -> None:
        self.marks.place(kind, on)
        self.context.refresh_later()

    def _send(
        self, points: np.ndarray | None, box: list[float] | None, mask: np.ndarray | None
    ) -> None:
        self.logic.addLivePrompt(self.selected, points, box, mask)

    def refresh(self) -> None:
        """Show the state of the session."""
        if self.marks.outdated:
            self._release()
        self._show_placing()
        self._show_numbers()
        volume = self.ui.liveVolumeSelector.currentNode()
        recording = self.live.recording is not None
        shown = (self.live.running, recording, self.marks.holding, volume)
        state = (*shown, self._choices(), self.selected)
        if state != self._shown:
            self._shown = state
            self._show_state()

    def _show_progress(self) -> None:
        self._pictures += 1
        if self._pictures % REFRESH == 0:
            self._show_numbers()

    def _choices(self) -> tuple[tuple[int, str], ...]:
        try:
            return tuple((style.id, style.name) for style in self.live.objects)
        except InputError:  # there is no segmentation yet
            return ()

    def _show_state(self) -> None:
        ui, live = self.ui, self.live
        self._fill_objects()
        set_checked(ui.liveButton, live.running)
        ui.liveButton.text = _("Stop") if live.running else _("Segment live")
        set_checked(ui.liveRecordButton, live.recording is not None)
        set_checked(ui.liveHoldButton, self.marks.holding)
        chosen = ui.liveVolumeSelector.currentNode() is not None
        no_volume = "" if chosen or live.running else _("Choose the volume that is filled live")
        not_live = "" if live.running else _("Press 'Segment live' first")
        no_object = not_live or ("" if self.selected else _("Add an object first"))
        enable(ui.liveButton, no_volume)
        ui.liveVolumeSelector.enabled = not live.running
        for widget in (ui.addLiveObjectButton, ui.liveHoldButton, ui.liveRecordButton):
            enable(widget, not_live)
        for widget in (ui.removeLiveObjectButton, *self._kind_buttons.values()):
            enable(widget, no_object)
        enable(ui.liveNameEdit, "" if self.selected else _("Add an object first"))
        ui.liveLimitSpinBox.enabled = live.recording is None

    def _fill_objects(self) -> None:
        combo, choices = self.ui.liveObjectComboBox, self._choices()
        ids = [object_id for object_id, _name in choices]
        if self.selected not in ids:
            self.selected = ids[0] if ids else 0
        combo.clear()
        for object_id, name in choices:
            combo.addItem(name, object_id)
        if ids:
            combo.setCurrentIndex(ids.index(self.selected))
        name = dict(choices).get(self.selected, "")
        if self.ui.liveNameEdit.text != name:
            self.ui.liveNameEdit.text = name

    def _show_numbers(self) -> None:
        live = self.live
        text = {
            "stopped": _("Not running"),
            "starting": _("Loading the model..."),
            "waiting": _("Waiting for a picture"),
            "running": _("Running"),
        }[live.state]
        if live.statistics.segmented:
            text += ": " + _numbers(live.statistics)
        if live.recording is not None:
            text += "\n" + _("Recorded: {frames} frames, {used:.2f} of {limit:.1f} GB").format(
                frames=live.recording.frames,
                used=live.recording.bytes / 1e9,
                limit=live.recording.limit / 1e9,
            )
        self.ui.liveStatusLabel.text = text

    def _show_placing(self) -> None:
        placing = self.marks.placing()
        for kind, button in self._kind_buttons.items():
            set_checked(button, kind in placing)

    def _show_message(self, text: str) -> None:
        self.ui.liveMessageLabel.text = text
        self.ui.liveMessageLabel.setVisible(bool(text))

    def _toggled(self, action: Any) -> Any:
        """Return a slot that resets its button when the action fails."""

        def slot(on: bool) -> None:
            self.context.run(lambda: action(on))
            self._shown = None
            self.refresh()

        return slot

    def _later(self, action: Any) -> None:
        later(lambda: self.context.run(action))

    def forget(self) -> None:
        """End the session, and remove the held picture and the marks from the scene.

        The segmentation and the recordings stay.
        """
        self.live.forget()
        self.marks.forget()


def _numbers(statistics: LiveStatistics) -> str:
    text = _(
        "{fps:.1f} frames/s, latency {median:.0f} ms (95 % below {p95:.0f} ms), "
        "{segmented} segmented, {dropped} passed over"
    )
    median, p95 = statistics.latencyMedian, statistics.latencyP95
    return text.format(
        fps=statistics.fps,
        median=0 if math.isnan(median) else median,
        p95=0 if math.isnan(p95) else p95,
        segmented=statistics.segmented,
        dropped=statistics.dropped,
    )
