"""`SurgSAM2Widget`: the panel; its sections are in `panel/`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import qt
import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from surgsam2.errors import InputError, SurgSAM2Error
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.advanced_section import AdvancedSection
from SurgSAM2Lib.panel.correct_section import CorrectSection
from SurgSAM2Lib.panel.files_section import FilesSection
from SurgSAM2Lib.panel.live_section import LiveSection
from SurgSAM2Lib.panel.objects_section import ObjectsSection
from SurgSAM2Lib.panel.review_section import ReviewSection
from SurgSAM2Lib.panel.section import later
from SurgSAM2Lib.panel.setup_section import SetupSection
from SurgSAM2Lib.panel.shortcuts import Shortcuts
from SurgSAM2Lib.panel.streaming_section import StreamingSection
from SurgSAM2Lib.panel.tracking_section import TrackingSection
from SurgSAM2Lib.panel.video_section import VideoSection
from SurgSAM2Lib.prompts.markups import (
    BOX,
    NEGATIVE,
    POSITIVE,
    PromptMarkups,
    is_placing,
    start_placing,
    stop_placing,
)
from SurgSAM2Lib.session.views import first_video
from SurgSAM2Lib.slicer_logic import SurgSAM2Logic


class SurgSAM2Widget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Holds the sections together: the scene, the chosen video and object, errors."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameters: Any = None
        """The `SurgSAM2ParameterNode` in use; None while a scene is closed."""
        self._gui_tag: int | None = None

    # Slicer's calls

    def setup(self) -> None:
        """Build the panel. Needs none of the packages that may be missing."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/SurgSAM2.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = SurgSAM2Logic()
        self.logic.onChange = self.refresh_later
        self.logic.onError = self.show_message
        self.logic.onVideo = self._video_changed
        self.markups = PromptMarkups(
            slicer.mrmlScene,
            on_points=lambda points: later(lambda: self.run(lambda: self._set_clicks(points))),
            on_box=lambda box: later(lambda: self.run(lambda: self._set_box(box))),
            on_refusal=lambda text: later(lambda: self._refuse(text)),
        )
        self._refresh_is_due = False
        self.setup_section = SetupSection(self)
        self.video = VideoSection(self)
        self.tracking = TrackingSection(self)
        self.objects = ObjectsSection(self)
        self.correct = CorrectSection(self)
        self.review = ReviewSection(self)
        self.files = FilesSection(self)
        self.advanced = AdvancedSection(self)
        self.live = LiveSection(self)
        self.streaming = StreamingSection(self)
        self.shortcuts = Shortcuts(self._keys())
        self.show_message("")
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._on_scene_start_close)
        self.addObserver(scene, scene.EndCloseEvent, self._on_scene_end_close)
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        mode_changed = slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent
        self.addObserver(interaction, mode_changed, self._on_interaction_mode)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Before the module is reloaded and when Slicer exits."""
        self.shortcuts.deactivate()
        self.video.forget_pending()
        self.setParameterNode(None)
        self.removeObservers()
        self.markups.forget()
        self.live.forget()
        self.review.plot.forget()
        self.logic.close()

    def enter(self) -> None:
        """The module is shown."""
        self.shortcuts.activate()
        self.initializeParameterNode()
        if self.logic.session is not None:
            self.run(self.logic.session.adopt_new_segments)

    def exit(self) -> None:
        """Another module is shown. Tracking goes on."""
        self.shortcuts.deactivate()
        stop_placing(slicer.mrmlScene)

    def onReload(self) -> None:
        """Reload the parts of the module too (developer mode)."""
        import sys

        for name in [name for name in sys.modules if name.split(".")[0] == "SurgSAM2Lib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    # the parameter node

    def initializeParameterNode(self) -> None:
        """Use the scene's parameter node; it is made when there is none."""
        if self.parameters is None:
            self.setParameterNode(self.logic.getParameterNode())
        if self.parameters.video is None:
            self.parameters.video = first_video(slicer.mrmlScene)

    def setParameterNode(self, parameters: Any) -> None:
        """Bind the widgets to a parameter node, or to none."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._gui_tag)
            self.removeObserver(
                self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._on_parameters
            )
        self.parameters = parameters
        if parameters is not None:
            self._gui_tag = parameters.connectGui(self.ui)
            node = parameters.parameterNode
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
            self._video_changed(self._current_browser())
            self._on_parameters()

    def _on_parameters(self, _caller: Any = None, _event: Any = None) -> None:
        """The choices that the logic has to know."""
        chosen = self.parameters
        if chosen is None:
            return
        self.logic.livePreview = chosen.livePreview
        self.logic.setModel(
            chosen.model or "demo", chosen.config or None, chosen.device, chosen.dtype,
            chosen.pruning.value, chosen.prune,
        )  # fmt: skip
        if chosen.video is not self._current_browser():
            self._use_video(chosen.video)
        self.refresh_later()

    def _current_browser(self) -> Any:
        """The browser of the video in use; None without one, or when nodes were deleted."""
        session = self.logic.session
        return session.video.browser if session is not None and session.intact else None

    def _use_video(self, browser: Any) -> None:
        try:
            self.logic.setVideo(browser)
            self.show_message("")
        except SurgSAM2Error as error:
            self.logic.setVideo(None)
            self.show_message(str(error))

    def _video_changed(self, browser: Any) -> None:
        """The logic works on another video, chosen here or in the Python console."""
        self.removeObservers(self._on_frame)
        session = self.logic.session
        if session is None:
            return
        if self.parameters is None:  # no panel is shown; it is chosen when one is
            self.logic.getParameterNode().video = browser
            return
        self.addObserver(browser, vtk.vtkCommand.ModifiedEvent, self._on_frame)
        if self.selected not in session.objects:
            self.select_object(next((style.id for style in session.objects), 0))
        if self.parameters.video is not browser:
            self.parameters.video = browser

    # for the sections

    @property
    def selected(self) -> int:
        """Id of the object that prompts are given for; 0 for none."""
        return self.parameters.selectedObject if self.parameters is not None else 0

    def required_object(self) -> int:
        """As `selected`; `InputError` for none."""
        if not self.selected:
            raise InputError(_("no object is selected; add or select an object first"))
        return self.selected

    def select_object(self, object_id: int) -> None:
        if self.parameters is not None and object_id != self.selected:
            self.parameters.selectedObject = object_id
        self.refresh_later()

    def choose_video(self, browser: Any) -> None:
        """Work on a video of the scene."""
        if self.parameters.video is browser:  # its files were found again
            self._use_video(browser)
        self.parameters.video = browser

    def run(self, action: Callable[[], Any]) -> bool:
        """Do what the user asked for; a refusal is shown in a message box."""
        try:
            with waiting():
                action()
        except SurgSAM2Error as error:
            self.refresh()
            slicer.util.errorDisplay(str(error), windowTitle=_("SurgSAM2"))
            return False
        self.show_message("")
        self.refresh()
        return True

    def show_message(self, text: str) -> None:
        """A text at the top of the panel; an empty one takes it away."""
        self.ui.messageLabel.text = text
        self.ui.messageLabel.setVisible(bool(text))

    def refresh_later(self) -> None:
        """Show the state once, however many changes come before Slicer is idle."""
        if not self._refresh_is_due:
            self._refresh_is_due = True
            later(self.refresh)

    def refresh(self) -> None:
        """Show the state of everything."""
        self._refresh_is_due = False
        if self.parameters is None:
            return
        if self.logic.session is not None and self._current_browser() is None:
            self._leave_deleted_video()
        if self.selected and not self._object_exists():
            self.parameters.selectedObject = 0
        for section in (
            self.video, self.tracking, self.objects, self.correct, self.review, self.files,
            self.advanced, self.live, self.streaming,
        ):  # fmt: skip
            section.refresh()
        self._show_markups()

    def _leave_deleted_video(self) -> None:
        self.parameters.video = None
        self._use_video(None)
        self.show_message(_("Nodes of the video were deleted; choose or open a video"))

    def _object_exists(self) -> bool:
        return self.logic.session is not None and self.selected in self.logic.session.objects

    # placing prompts

    def place(self, kind: str, on: bool) -> None:
        """The next clicks in a view are prompts of this kind, or not any more."""
        if on and self.selected:
            start_placing(self.markups.node(kind), again=kind != BOX)
        else:
            stop_placing(slicer.mrmlScene)
        self.refresh_later()

    def is_placing(self, kind: str) -> bool:
        return self.markups.has(kind) and is_placing(self.markups.node(kind))

    def _set_clicks(self, points: np.ndarray) -> None:
        self.logic.setClicks(self.required_object(), points)

    def _set_box(self, box: list[float]) -> None:
        self.logic.setBox(self.required_object(), box)

    def _refuse(self, text: str) -> None:
        self._show_markups()
        slicer.util.errorDisplay(text, windowTitle=_("SurgSAM2"))

    def _show_markups(self) -> None:
        session = self.logic.session
        if session is None or not self.selected:
            self.markups.show(None, np.zeros((0, 3)), None)
            return
        frame = session.video.current_frame
        prompt = session.prompts.get(self.selected, frame)
        clicks = session.clicks(self.selected, frame)
        self.markups.show(session.video, clicks, None if prompt is None else prompt.box)

    # events

    def _on_frame(self, _caller: Any = None, _event: Any = None) -> None:
        """Another frame is shown; during playback this comes many times a second."""
        if self.parameters is None or self._current_browser() is None:
            return
        self.video.show_frame()
        self.correct.show_frame()
        self.review.show_frame()
        self._show_markups()

    def _on_interaction_mode(self, _caller: Any, _event: Any) -> None:
        """Placing has begun or ended, with our buttons or by a right click in the view."""
        if not any(self.is_placing(kind) for kind in (POSITIVE, NEGATIVE, BOX)):
            later(self.markups.placing_ended)
        self.refresh_later()

    def _on_scene_start_close(self, _caller: Any, _event: Any) -> None:
        self.setParameterNode(None)
        self.markups.forget()
        self.logic.setVideo(None)

    def _on_scene_end_close(self, _caller: Any, _event: Any) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    def _keys(self) -> dict[str, Callable[[], None]]:
        def press(button: Any) -> Callable[[], None]:
            return lambda: button.click() if button.enabled else None

        return {
            "P": press(self.ui.positiveButton),
            "N": press(self.ui.negativeButton),
            "B": press(self.ui.boxButton),
            "U": press(self.ui.undoButton),
            "T": press(self.ui.trackButton),
            "G": press(self.ui.goodButton),
            "D": press(self.review.ui.nextDoubtfulButton),
            "Shift+D": press(self.review.ui.previousDoubtfulButton),
            "X": press(self.review.ui.badFrameButton),
        }


@contextlib.contextmanager
def waiting() -> Any:
    """The waiting cursor."""
    qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
    try:
        yield
    finally:
        qt.QApplication.restoreOverrideCursor()
