"""Tests that the host behaves as Slicer does where the extension relies on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.slicer_host.host import SlicerHost

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Sample</class>
 <widget class="qMRMLWidget" name="Sample">
  <layout class="QVBoxLayout" name="verticalLayout">
   <item>
    <widget class="ctkCollapsibleButton" name="inputs">
     <property name="text"><string>Inputs</string></property>
     <property name="collapsed"><bool>true</bool></property>
     <layout class="QFormLayout" name="formLayout">
      <item row="0" column="0"><widget class="QLabel" name="label">
       <property name="text"><string>Video:</string></property></widget></item>
      <item row="0" column="1">
       <widget class="qMRMLNodeComboBox" name="videoSelector">
        <property name="nodeTypes">
         <stringlist><string>vtkMRMLSequenceBrowserNode</string></stringlist>
        </property>
        <property name="noneEnabled"><bool>true</bool></property>
        <property name="addEnabled"><bool>false</bool></property>
        <property name="SlicerParameterName" stdset="0"><string>video</string></property>
       </widget>
      </item>
      <item row="1" column="1">
       <widget class="ctkSliderWidget" name="scale">
        <property name="decimals"><number>2</number></property>
        <property name="maximum"><double>1.0</double></property>
        <property name="SlicerParameterName" stdset="0"><string>scale</string></property>
       </widget>
      </item>
     </layout>
    </widget>
   </item>
   <item><widget class="QComboBox" name="direction">
     <property name="SlicerParameterName" stdset="0"><string>direction</string></property>
   </widget></item>
   <item><widget class="ctkPathLineEdit" name="model">
     <property name="SlicerParameterName" stdset="0"><string>model</string></property>
   </widget></item>
   <item><widget class="QCheckBox" name="keep">
     <property name="SlicerParameterName" stdset="0"><string>keep</string></property>
   </widget></item>
   <item><widget class="QPushButton" name="apply">
     <property name="text"><string>Apply</string></property>
     <property name="enabled"><bool>false</bool></property></widget></item>
   <item><widget class="qMRMLSequenceBrowserPlayWidget" name="play"/></item>
   <item><widget class="qMRMLSequenceBrowserSeekWidget" name="seek"/></item>
   <item><widget class="qSlicerMarkupsPlaceWidget" name="place"/></item>
  </layout>
 </widget>
 <connections>
  <connection>
   <sender>Sample</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>videoSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
  <connection>
   <sender>Sample</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>place</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
 </connections>
</ui>
"""

CODE = """
import enum
from pathlib import Path
from typing import Annotated

import slicer
from slicer import vtkMRMLSequenceBrowserNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

log = []

class Direction(enum.Enum):
    FORWARD = "forward"
    BOTH = "both"

@parameterNodeWrapper
class SampleParameterNode:
    video: vtkMRMLSequenceBrowserNode
    scale: Annotated[float, WithinRange(0.1, 1.0)] = 0.5
    direction: Direction
    model: Path
    keep: bool = True

class Sample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Sample")
        slicer.app.connect("startupCompleted()", lambda: log.append("started"))

class SampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/Sample.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.ui.apply.connect("clicked(bool)", lambda checked: log.append("clicked"))
        self.logic = SampleLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onClose)

    def onClose(self, caller, event):
        log.append("closed")

    def enter(self):
        log.append("enter")

    def exit(self):
        log.append("exit")

    def cleanup(self):
        log.append("cleanup")
        self.removeObservers()

class SampleLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return SampleParameterNode(super().getParameterNode())

class SampleFileReader:
    def __init__(self, parent):
        self.parent = parent

    def description(self):
        return "Sample"

    def fileType(self):
        return "SampleFile"

    def extensions(self):
        return ["Sample file (*.sample)"]

    def canLoadFileConfidence(self, path):
        return 0.6 if self.parent.supportedNameFilters(path) else 0.0

    def load(self, properties):
        if "bad" in properties["fileName"]:
            import vtk
            self.parent.userMessages().AddMessage(vtk.vtkCommand.ErrorEvent, "It is bad")
            return False
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", properties.get("name", "S"))
        self.parent.loadedNodes = [node.GetID()]
        return True
"""


@pytest.fixture
def sample(slicer_app: SlicerHost, tmp_path: Path) -> Any:
    """A small scripted module that is loaded."""
    (tmp_path / "Resources/UI").mkdir(parents=True)
    (tmp_path / "Resources/UI/Sample.ui").write_text(UI)
    (tmp_path / "Sample.py").write_text(CODE)
    yield slicer_app.load_module(tmp_path / "Sample.py")
    slicer_app.unload_module("Sample")


def test_qt_properties_are_attributes(slicer_app: SlicerHost) -> None:
    import qt

    button = qt.QPushButton("Go")
    button.enabled, button.name = False, "go"
    assert (button.text, button.enabled, button.isEnabled()) == ("Go", False, False)
    assert (button.objectName, button.className(), type(button)) == (
        "go",
        "QPushButton",
        qt.QPushButton,
    )
    button.setText("Stop")
    assert button.text == "Stop"
    with pytest.raises(AttributeError):
        _ = button.nothing
    with pytest.raises(AttributeError, match="QNothing"):
        _ = qt.QNothing


def test_signals_by_signature_and_by_name(slicer_app: SlicerHost) -> None:
    import qt

    heard: list[Any] = []
    box = qt.QSpinBox()
    box.connect("valueChanged(int)", heard.append)
    box.valueChanged.connect(heard.append)
    box.value = 3
    box.disconnect("valueChanged(int)", heard.append)
    box.value = 4
    assert heard == [3, 3, 4]
    with pytest.raises(ValueError, match="no signal"):
        box.connect("valueHasChanged(int)", heard.append)


def test_timers(slicer_app: SlicerHost) -> None:
    import qt

    ticks: list[int] = []
    timer = qt.QTimer()
    timer.setInterval(0)
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    qt.QTimer.singleShot(0, lambda: ticks.append(2))
    slicer_app.process_events()
    assert timer.active
    timer.stop()
    assert {1, 2} == set(ticks)


def test_an_error_in_a_slot_is_noted_not_raised(slicer_app: SlicerHost) -> None:
    import qt

    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError" in slicer_app.slot_errors[0]
    slicer_app.slot_errors.clear()


def test_the_module_lives_as_in_slicer(sample: Any, slicer_app: SlicerHost) -> None:
    import slicer

    log = sys.modules["Sample"].log
    assert sample.title == "Sample"
    assert slicer.modules.sample is sample
    assert not hasattr(slicer.modules, "SampleWidget")
    slicer.util.selectModule("Sample")
    widget = slicer.util.getModuleWidget("Sample")
    assert widget is slicer.modules.SampleWidget
    slicer.mrmlScene.Clear(0)
    slicer.util.selectModule("")
    assert log == ["started", "enter", "closed", "exit"]

    slicer.util.reloadScriptedModule("Sample")
    assert log[-1] == "cleanup"
    assert slicer.modules.SampleWidget is not widget
    slicer.mrmlScene.Clear(0)
    assert log[-1] == "cleanup", "the first widget must not listen any more"


def test_the_ui_file_becomes_widgets(sample: Any) -> None:
    import ctk
    import slicer

    ui = slicer.util.getModuleWidget("Sample").ui
    assert type(ui.inputs) is ctk.ctkCollapsibleButton
    assert ui.inputs.collapsed
    assert ui.inputs.text == "Inputs"
    assert ui.videoSelector.isHidden(), "sections hide what is in them while they are collapsed"
    ui.inputs.collapsed = False
    assert not ui.videoSelector.isHidden()
    assert ui.apply.text == "Apply"
    assert not ui.apply.enabled
    assert ui.videoSelector.mrmlScene() is slicer.mrmlScene
    assert ui.scale.maximum == 1.0
    assert ui.inputs.layout().indexOf(ui.scale) >= 0


def test_node_selector_follows_the_scene(sample: Any) -> None:
    import slicer

    selector = slicer.util.getModuleWidget("Sample").ui.videoSelector
    heard: list[Any] = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "B")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    assert selector.nodeCount() == 1
    assert selector.currentNode() is None
    selector.setCurrentNode(browser)
    assert selector.currentNodeID == browser.GetID()
    slicer.mrmlScene.RemoveNode(browser)
    assert heard == [browser, None]


def test_parameters_and_widgets_agree(sample: Any, tmp_path: Path) -> None:
    import slicer
    from SurgSAM2Lib.panel.parameter_binding import ParameterBinding

    widget = slicer.util.getModuleWidget("Sample")
    parameters = widget.logic.getParameterNode()
    direction = sys.modules["Sample"].Direction
    binding = ParameterBinding(parameters, widget.ui)
    assert widget.ui.scale.value == 0.5
    widget.ui.scale.value = 0.75
    widget.ui.direction.currentIndex = 1
    widget.ui.model.currentPath = "weights.pt"
    widget.ui.keep.checked = False
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "B")
    widget.ui.videoSelector.setCurrentNode(browser)
    assert (parameters.scale, parameters.direction) == (0.75, direction.BOTH)
    assert (parameters.model, parameters.keep) == (Path("weights.pt"), False)
    assert parameters.video is browser
    parameters.scale = 0.25
    assert widget.ui.scale.value == 0.25
    with pytest.raises(ValueError, match="within"):
        parameters.scale = 2.0
    with pytest.raises(TypeError):
        parameters.keep = "yes"
    binding.release()  # `disconnectGui` of Slicer 5.10 leaves an observer behind

    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Commit()
    slicer.mrmlScene.Clear(0)
    assert widget.logic.getParameterNode().scale == 0.5
    slicer.mrmlScene.Clear(0)
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Connect()
    again = widget.logic.getParameterNode()
    assert (again.scale, again.direction) == (0.25, direction.BOTH)
    assert again.video.GetName() == "B"


def test_files_reach_the_module_s_reader(sample: Any, tmp_path: Path) -> None:
    import slicer

    good, bad = tmp_path / "good.sample", tmp_path / "bad.sample"
    for path in (good, bad):
        path.write_text("x")
    assert slicer.app.coreIOManager().fileType(str(good)) == "SampleFile"
    node = slicer.util.loadNodeFromFile(good, "SampleFile", {"name": "N"})
    assert node.GetName() == "N"
    assert slicer.util.loadNodeFromFile(good) is not None
    with pytest.raises(RuntimeError, match="It is bad"):
        slicer.util.loadNodeFromFile(bad, "SampleFile", {})


def test_playing_and_placing(sample: Any) -> None:
    import slicer
    import vtk

    ui = slicer.util.getModuleWidget("Sample").ui
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for k in range(3):
        sequence.SetDataNodeAtValue(slicer.vtkMRMLTextNode(), str(k))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    for part in (ui.play, ui.seek):
        part.setMRMLSequenceBrowserNode(browser)
    ui.play.onVcrLast()
    assert ui.seek.slider().value == 2
    ui.seek.slider().value = 1
    assert browser.GetSelectedItemNumber() == 1

    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    heard: list[bool] = []
    ui.place.connect("activeMarkupsPlaceModeChanged(bool)", heard.append)
    ui.place.setCurrentNode(points)
    ui.place.setPlaceModeEnabled(True)
    assert ui.place.placeModeEnabled
    ui.place.interactionNode().SetCurrentInteractionMode(2)
    assert not ui.place.placeModeEnabled
    assert heard == [True, False]
    points.AddControlPoint(vtk.vtkVector3d(1, 2, 3))
    ui.place.deleteLastPoint()
    assert points.GetNumberOfControlPoints() == 0


def test_dialogs_are_recorded_and_answered(slicer_app: SlicerHost) -> None:
    import slicer

    slicer.util.errorDisplay("It failed", detailedText="why")
    assert slicer_app.dialogs.messages[0].details == "why"
    slicer_app.dialogs.answers = [False, True]
    assert not slicer.util.confirmOkCancelDisplay("Go?")
    assert slicer.util.confirmYesNoDisplay("Go?")
    with pytest.raises(OSError, match="gone"), slicer.util.tryWithErrorDisplay("Not loaded."):
        raise OSError("gone")
    assert slicer_app.dialogs.texts[-1] == "Not loaded.\n\ngone"
    dialog = slicer.util.createProgressDialog(labelText="Loading", maximum=3)
    dialog.value = 2
    assert not dialog.wasCanceled
    dialog.cancel()
    assert dialog.wasCanceled
    dialog.close()


def test_without_a_main_window(slicer_app: SlicerHost) -> None:
    import slicer

    assert slicer.util.mainWindow() is not None
    slicer_app.set_main_window(False)
    assert slicer.util.mainWindow() is None
    slicer.util.errorDisplay("Only logged")
    assert not slicer_app.dialogs.messages


def test_files_and_colours_are_chosen_by_the_test(slicer_app: SlicerHost) -> None:
    import qt

    slicer_app.dialogs.chosen = ["clip.mp4", "#ff0000"]
    assert qt.QFileDialog.getOpenFileName(None, "Open", "", "Videos (*.mp4)") == "clip.mp4"
    assert qt.QColorDialog.getColor().name() == "#ff0000"
    assert qt.QFileDialog.getSaveFileName() == ""
    assert not qt.QColorDialog.getColor().isValid()


def test_real_segment_arrays(slicer_app: SlicerHost) -> None:
    import numpy as np
    import slicer

    volume = slicer.util.addVolumeFromArray(np.zeros((1, 6, 8), np.uint8))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("", "Clip")
    mask = np.zeros((1, 6, 8), np.uint8)
    mask[0, 2:4, 1:5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
    found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume)
    assert np.array_equal(found, mask)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    red = slicer.app.layoutManager().sliceWidget("Red")
    assert red.mrmlSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID()


def test_the_scene_is_empty_again(slicer_app: SlicerHost) -> None:
    import slicer

    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetName() == "Red"
