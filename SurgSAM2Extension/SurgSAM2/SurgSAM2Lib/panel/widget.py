"""`SurgSAM2Widget`: the panel of the module. Its sections are in the other files here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from surgsam2.model.options import ModelOptions
from SurgSAM2Lib.logic.option_names import options_of
from SurgSAM2Lib.logic.slicer_logic import SurgSAM2Logic
from SurgSAM2Lib.panel.context import PanelContext, later
from SurgSAM2Lib.panel.correct_section import CorrectSection
from SurgSAM2Lib.panel.files_section import FilesSection
from SurgSAM2Lib.panel.live_section import LiveSection
from SurgSAM2Lib.panel.objects_section import ObjectsSection
from SurgSAM2Lib.panel.parameter_binding import ParameterBinding
from SurgSAM2Lib.panel.placing import PromptPlacing
from SurgSAM2Lib.panel.remote_section import RemoteSection
from SurgSAM2Lib.panel.review_section import ReviewSection
from SurgSAM2Lib.panel.setup_section import SetupSection
from SurgSAM2Lib.panel.shortcuts import Shortcuts
from SurgSAM2Lib.panel.tasks_section import TasksSection
from SurgSAM2Lib.panel.timeline_section import TimelineSection
from SurgSAM2Lib.panel.tracking_section import TrackingSection
from SurgSAM2Lib.panel.video_section import VideoSection
from SurgSAM2Lib.panel.views import StrokeDrags, WheelSteps, first_video
from SurgSAM2Lib.session.painted import adopt_edits, adopt_new_segments


class SurgSAM2Widget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Builds the panel, and keeps it in step with the scene and the parameter node.

    Args:
        parent: the widget that Slicer gives to a module.
    """

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._binding: ParameterBinding | None = None

    def setup(self) -> None:
        """Build the panel. This needs none of the packages that may be missing."""
        ScriptedLoadableModuleWidget.setup(self)
        panel, self.ui = self._load_ui("SurgSAM2")
        review, review_ui = self._load_ui("SurgSAM2Review")
        live, live_ui = self._load_ui("SurgSAM2Live")
        self.layout.addWidget(panel)
        column = self.ui.correctCollapsibleButton.parentWidget().layout()
        below = column.indexOf(self.ui.correctCollapsibleButton) + 1
        column.insertWidget(below, review)
        column.insertWidget(below + 1, live)
        for widget in (panel, live):
            widget.setMRMLScene(slicer.mrmlScene)
        for name in ("liveVolumeSelector", "liveLimitSpinBox"):  # widgets of parameters
            setattr(self.ui, name, getattr(live_ui, name))
        self.logic = SurgSAM2Logic()
        self.context = PanelContext(self.ui, self.logic, self._show_state)
        self.logic.onChange = self.context.refresh_later
        self.logic.onError = self.context.show_message
        self.logic.onVideo = self._video_changed
        self.logic.onPainted = lambda: later(self._painted)
        self.placing = PromptPlacing(self.context)
        self.setup_section = SetupSection(self.context)
        self.video = VideoSection(self.context)
        self.timeline = TimelineSection(self.context)
        self.tracking = TrackingSection(self.context)
        self.remote = RemoteSection(self.context)
        self.tasks = TasksSection(self.context, self.video)
        self.objects = ObjectsSection(self.context, self.placing)
        self.correct = CorrectSection(self.context, self.tracking)
        self.review = ReviewSection(self.context, review_ui)
        self.files = FilesSection(self.context, review_ui)
        self.live = LiveSection(self.context, live_ui)
        self.shortcuts = Shortcuts(self._keys())
        self.wheel = WheelSteps(self.video.step)
        self.drags = StrokeDrags([self.placing.markups.strokes, self.live.marks.markups.strokes])
        self.context.show_message("")
        self._observe_application()
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Leave the scene alone; before the module is reloaded and when Slicer exits."""
        self.shortcuts.deactivate()
        self.wheel.deactivate()
        self.drags.deactivate()
        self.video.forget_pending()
        self.setParameterNode(None)
        self.removeObservers()
        self.placing.forget()
        self.objects.painting.forget()
        self.live.forget()
        self.review.plot.forget()
        self.logic.close()

    def enter(self) -> None:
        """Take up work; the module is shown."""
        self.shortcuts.activate()
        self.wheel.activate()
        self.drags.activate()
        self.tasks.go_on_counting()
        self.initializeParameterNode()
        session = self.logic.session
        if session is not None:
            self.context.run(lambda: adopt_new_segments(session))

    def exit(self) -> None:
        """Give keys, mouse and layout back; another module is shown. Tracking continues."""
        self.shortcuts.deactivate()
        self.wheel.deactivate()
        self.drags.deactivate()
        self.placing.stop()
        self.objects.painting.show(False)
        self.context.run(self.tasks.pause)
        self.video.layout.restore()

    def onReload(self) -> None:
        """Reload all files of the module (developer mode)."""
        for name in [name for name in sys.modules if name.split(".")[0] == "SurgSAM2Lib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def initializeParameterNode(self) -> None:
        """Use the scene's parameter node, which is made when there is none."""
        if self.context.parameters is None:
            self.setParameterNode(self.logic.getParameterNode())
        if self.context.parameters.video is None:
            self.context.parameters.video = first_video(slicer.mrmlScene)
            self._use_settings()

    def setParameterNode(self, parameters: Any) -> None:
        """Bind the widgets to a `SurgSAM2ParameterNode`; None unbinds them."""
        bound = self.context.parameters
        if bound is not None:
            node = bound.parameterNode
            self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        if self._binding is not None:
            self._binding.release()
            self._binding = None
        self.context.parameters = parameters
        if parameters is not None:
            self._binding = ParameterBinding(parameters, self.ui)
            node = parameters.parameterNode
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
            self._video_changed(self.context.browser)
            self._use_settings()

    def _load_ui(self, name: str) -> tuple[Any, Any]:
        """Load a ``.ui`` file; return its widget, and its named widgets as attributes."""
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{name}.ui"))
        return widget, slicer.util.childWidgetVariables(widget)

    def _observe_application(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._scene_starts_closing)
        self.addObserver(scene, scene.EndCloseEvent, self._scene_has_closed)
        self.addObserver(scene, scene.StartImportEvent, self._scene_will_be_read)
        self.addObserver(scene, scene.EndImportEvent, self._scene_was_read)
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        mode_changed = slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent
        self.addObserver(interaction, mode_changed, self._interaction_mode_changed)

    def _parameters_changed(self, _caller: Any, _event: Any) -> None:
        """Use the settings when all observers were called.

        The parameter node's wrapper keeps copies of the values, which an observer of its own
        brings up to date; that one may be called after this one.
        """
        later(self._use_settings)

    def _use_settings(self) -> None:
        """Give the settings to the logic."""
        chosen = self.context.parameters
        if chosen is None:
            return
        self.logic.livePreview = chosen.livePreview
        self.logic.tracking.model = options_of(chosen, ModelOptions)
        if chosen.video is not self.context.browser:
            self.context.use_video(chosen.video)
        self.context.refresh_later()

    def _video_changed(self, browser: Any) -> None:
        """Follow the logic to another video, chosen here or in the Python console."""
        self.removeObservers(self._frame_changed)
        context, session = self.context, self.logic.session
        if session is None:
            return
        if context.parameters is None:  # the panel is not shown; it will show this video
            self.logic.getParameterNode().video = browser
            return
        self.addObserver(browser, vtk.vtkCommand.ModifiedEvent, self._frame_changed)
        if context.selected not in session.objects:
            context.select_object(next((style.id for style in session.objects), 0))
        if context.parameters.video is not browser:
            context.parameters.video = browser

    def _show_state(self) -> None:
        context, session = self.context, self.logic.session
        if context.parameters is None:
            return
        problem = session.problem if session is not None else ""
        if problem:
            context.parameters.video = None
            context.use_video(None)
            context.show_message(problem)
            session = None
        if context.selected and (session is None or context.selected not in session.objects):
            context.parameters.selectedObject = 0
        for section in (
            self.video, self.timeline, self.tracking, self.objects, self.correct, self.review,
            self.files, self.live, self.remote, self.tasks,
        ):  # fmt: skip
            section.refresh()
        self.placing.show()

    def _frame_changed(self, _caller: Any = None, _event: Any = None) -> None:
        """Show what belongs to the frame; during playback this is called many times a second."""
        if self.context.parameters is None or self.context.browser is None:
            return
        self.video.show_frame()
        self.timeline.show_frame()
        self.correct.show_frame()
        self.review.show_frame()
        self.placing.show()

    def _painted(self) -> None:
        """Show what another module has changed, and use painted masks at once if wanted."""
        parameters, session = self.context.parameters, self.logic.session
        if parameters is None or session is None or self.logic.engine.tracking is not None:
            return
        if parameters.usePaintedMask and len(session.edited):
            self.context.run(lambda: adopt_edits(session))
        else:
            self.context.refresh_later()

    def _interaction_mode_changed(self, _caller: Any, _event: Any) -> None:
        self.placing.mode_changed()

    def _scene_starts_closing(self, _caller: Any, _event: Any) -> None:
        self.setParameterNode(None)
        self.placing.forget()
        self.objects.painting.forget()
        self.live.forget()
        self.tasks.scene_closes()
        self.logic.setVideo(None)

    def _scene_has_closed(self, _caller: Any, _event: Any) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    def _scene_will_be_read(self, _caller: Any, _event: Any) -> None:
        """Let the settings alone until all nodes that they refer to are there."""
        self.setParameterNode(None)

    def _scene_was_read(self, _caller: Any, _event: Any) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    def _keys(self) -> dict[str, Callable[[], None]]:
        def press(button: Any) -> Callable[[], None]:
            return lambda: button.click() if button.enabled else None

        return {
            "P": press(self.ui.positiveButton),
            "N": press(self.ui.negativeButton),
            "B": press(self.ui.boxButton),
            "S": press(self.ui.scribbleButton),
            "Shift+S": press(self.ui.notScribbleButton),
            "L": press(self.ui.lassoButton),
            "E": press(self.ui.paintButton),
            "A": press(self.ui.absentButton),
            "U": press(self.ui.undoButton),
            "Ctrl+Z": press(self.ui.undoButton),
            "Ctrl+Shift+Z": press(self.ui.redoButton),
            "T": press(self.ui.trackButton),
            "R": press(self.ui.trackForwardButton),
            "G": press(self.ui.goodButton),
            "D": press(self.review.ui.nextDoubtfulButton),
            "Shift+D": press(self.review.ui.previousDoubtfulButton),
            "X": press(self.review.ui.badFrameButton),
            "Left": lambda: self.video.step(-1),
            "Right": lambda: self.video.step(1),
            "Shift+Left": lambda: self.video.step(-10),
            "Shift+Right": lambda: self.video.step(10),
            "Home": lambda: self.video.go_to(0),
            "End": lambda: self.video.go_to(sys.maxsize),
        }
