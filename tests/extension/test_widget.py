"""The panel with real widgets and MRML nodes and a fake engine client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

import surgsam2
from surgsam2.engine import ConnectionChanged
from surgsam2.mrml import load_scene, load_video
from surgsam2.tracking.options import TrackingOptions
from tests.extension.conftest import FRAMES, HEIGHT, MODULE_FOLDER, WIDTH, write_mp4
from tests.extension.fake_client import FakeClient
from tests.slicer_host.host import SlicerHost


@pytest.fixture
def panel(slicer_app: SlicerHost, client: FakeClient) -> Iterator[Any]:
    """The module's widget, which is shown."""
    slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    slicer.util.selectModule("SurgSAM2")
    widget = slicer.modules.SurgSAM2Widget
    widget.logic.engine.use_client(lambda: client)
    slicer_app.process_events()
    yield widget
    slicer_app.unload_module("SurgSAM2")


@pytest.fixture
def clip(panel: Any, slicer_app: SlicerHost, pictures: np.ndarray) -> Any:
    """The browser of a video in use, with one selected object."""
    nodes = load_video(slicer.mrmlScene, surgsam2.open_video(pictures), name="clip")
    panel.ui.videoSelector.setCurrentNode(nodes.browser)
    slicer_app.process_events()
    panel.ui.addObjectButton.click()
    slicer_app.process_events()
    return nodes.browser


def settle(panel: Any, host: SlicerHost) -> None:
    """Wait until nothing is running and the panel shows the state."""
    assert panel.logic.wait(120)
    host.process_events(10)


def click(panel: Any, host: SlicerHost, x: float, y: float, kind: str = "positive") -> None:
    """Place a control point, as a click in the Red view does."""
    import vtk

    node = panel.placing.markups.node(kind)
    node.AddControlPointWorld(vtk.vtkVector3d(*panel.logic.session.video.ras_of(x, y)))
    host.process_events()
    settle(panel, host)


def points_shown(panel: Any) -> int:
    return sum(
        panel.placing.markups.node(kind).GetNumberOfDefinedControlPoints()
        for kind in ("positive", "negative")
    )


def test_the_panel_opens_and_says_what_to_do_first(panel: Any) -> None:
    assert not panel.ui.trackButton.enabled
    assert "video" in panel.ui.trackButton.toolTip
    assert not panel.ui.addObjectButton.enabled
    assert panel.ui.frameLabel.text == "no video is chosen"
    assert panel.ui.messageLabel.isHidden()


def test_the_panel_opens_without_packages_and_installs_nothing(
    slicer_app: SlicerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    from SurgSAM2Lib.install import requirements

    monkeypatch.setattr(requirements, "installedVersion", lambda name: "")
    slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    slicer.util.selectModule("SurgSAM2")
    ui = slicer.modules.SurgSAM2Widget.ui
    assert not ui.setupCollapsibleButton.collapsed
    assert ui.setupCollapsibleButton.text == "What is missing"
    assert "torch" in ui.setupDetailsLabel.text
    assert ui.installButton.enabled
    assert slicer_app.pip.calls == []
    slicer_app.unload_module("SurgSAM2")


def test_click_preview_track_and_progress(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    panel.ui.positiveButton.checked = True
    slicer_app.process_events()
    assert panel.ui.positiveButton.checked
    assert panel.placing.is_placing("positive")
    click(panel, slicer_app, 50, 60)
    assert panel.logic.getMask(1, 0).any(), "live preview"
    assert panel.ui.trackButton.enabled
    panel.ui.trackButton.click()
    settle(panel, slicer_app)
    assert panel.ui.progressBar.value == FRAMES
    assert panel.ui.statusLabel.text == f"Finished: {FRAMES} frames"
    assert "on cpu, float32, 512 pixels" in panel.ui.engineLabel.text
    assert panel.logic.getMask(1, FRAMES - 1).any()


def test_an_engine_that_does_not_answer_is_reported(
    panel: Any, clip: Any, slicer_app: SlicerHost, client: FakeClient
) -> None:
    click(panel, slicer_app, 50, 60)
    panel.ui.trackButton.click()
    for state, shown in (("silent", True), ("connected", False)):
        client.tell(ConnectionChanged(state, "The engine process has said nothing."))
        panel.logic.processEvents()
        panel.context.refresh()
        assert panel.logic.engine.tracking is not None
        assert ("has said nothing" in panel.ui.statusLabel.text) == shown
    settle(panel, slicer_app)


def test_points_are_shown_on_their_frame_only(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    click(panel, slicer_app, 50, 60)
    click(panel, slicer_app, 70, 60, "negative")
    assert points_shown(panel) == 2
    clip.SetSelectedItemNumber(3)
    slicer_app.process_events()
    assert points_shown(panel) == 0
    click(panel, slicer_app, 80, 40)
    clip.SetSelectedItemNumber(0)
    slicer_app.process_events()
    assert points_shown(panel) == 2
    assert panel.logic.session.prompt_set().frames == (0, 3)


def test_points_of_the_selected_object_only(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    click(panel, slicer_app, 50, 60)
    panel.ui.addObjectButton.click()
    slicer_app.process_events()
    assert panel.context.selected == 2
    assert points_shown(panel) == 0
    panel.ui.objectsTable.selectRow(0)
    slicer_app.process_events()
    assert panel.context.selected == 1
    assert points_shown(panel) == 1


def test_a_moved_and_a_deleted_point_change_the_prompt(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    click(panel, slicer_app, 50, 60)
    click(panel, slicer_app, 90, 60)
    node = panel.placing.markups.node("positive")
    node.SetNthControlPointPositionWorld(0, *panel.logic.session.video.ras_of(30, 30))
    node.InvokeEvent(node.PointEndInteractionEvent)
    settle(panel, slicer_app)
    slicer_app.process_events()
    assert panel.logic.session.clicks(1, 0).tolist() == [[30, 30, 1], [90, 60, 1]]
    node.RemoveNthControlPoint(0)
    slicer_app.process_events()
    settle(panel, slicer_app)
    assert panel.logic.session.clicks(1, 0).tolist() == [[90, 60, 1]]
    panel.ui.undoButton.click()
    settle(panel, slicer_app)
    assert points_shown(panel) == 2


def test_a_point_outside_the_frame_is_refused_and_taken_away(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    click(panel, slicer_app, 50, 60)
    click(panel, slicer_app, WIDTH + 20, 60)
    assert "outside the 160 x 120 frame" in slicer_app.dialogs.texts[0]
    assert points_shown(panel) == 1
    assert len(panel.logic.session.clicks(1, 0)) == 1


def test_a_box_is_a_prompt(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    from surgsam2.mrml import set_box

    node = panel.placing.markups.node("box")
    set_box(node, panel.logic.session.video, [20, 30, 60, 80])
    node.InvokeEvent(node.PointEndInteractionEvent)
    slicer_app.process_events()
    settle(panel, slicer_app)
    box = panel.logic.session.prompts.get(1, 0).box
    assert np.allclose(box, [20, 30, 60, 80], atol=0.01)
    assert panel.logic.getMask(1, 0)[50, 40]


def test_a_box_drawn_in_place_mode_is_a_prompt_and_the_button_comes_up(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    from surgsam2.mrml import set_box

    panel.ui.boxButton.checked = True
    slicer_app.process_events()
    assert panel.placing.is_placing("box")
    panel.placing.markups._showing = True  # as if the view told nothing of the second corner
    set_box(panel.placing.markups.node("box"), panel.logic.session.video, [20, 30, 60, 80])
    panel.placing.markups._showing = False
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    slicer_app.process_events()
    settle(panel, slicer_app)
    assert not panel.ui.boxButton.checked
    assert np.allclose(panel.logic.session.prompts.get(1, 0).box, [20, 30, 60, 80], atol=0.01)
    assert len(panel.logic.session.history) == 1


def test_correct_and_track_again(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    click(panel, slicer_app, 50, 60)
    panel.ui.trackButton.click()
    settle(panel, slicer_app)
    clip.SetSelectedItemNumber(6)
    slicer_app.process_events()
    click(panel, slicer_app, 62, 52, "negative")
    assert not panel.logic.getMask(1, 6)[52, 62]
    assert points_shown(panel) == 1
    panel.ui.trackForwardButton.click()
    settle(panel, slicer_app)
    assert np.array_equal(panel.logic.getMask(1, 8), np.roll(panel.logic.getMask(1, 6), 4, axis=1))
    panel.ui.previousPromptButton.click()
    slicer_app.process_events()
    assert panel.logic.session.video.current_frame == 0
    panel.ui.nextPromptButton.click()
    assert panel.logic.session.video.current_frame == 6
    panel.ui.trackBackwardButton.click()
    settle(panel, slicer_app)
    panel.ui.trackBetweenButton.click()
    settle(panel, slicer_app)
    assert slicer_app.dialogs.messages == []


def test_good_frames(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    clip.SetSelectedItemNumber(4)
    slicer_app.process_events()
    panel.ui.goodButton.click()
    assert panel.ui.goodButton.checked
    assert "Good frames: 1" in panel.ui.correctLabel.text
    clip.SetSelectedItemNumber(5)
    slicer_app.process_events()
    assert not panel.ui.goodButton.checked


def test_names_colours_terms_and_visibility(
    panel: Any, clip: Any, slicer_app: SlicerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt
    from SurgSAM2Lib.panel.objects_table import CLASS, COLOR, NAME, VISIBLE

    table = panel.ui.objectsTable
    table.item(0, NAME).setText("grasper")
    table.item(0, VISIBLE).setCheckState(qt.Qt.Unchecked)
    monkeypatch.setattr(f"{type(panel.objects).__module__}.dialogs.ask_color", lambda c: "#123456")
    table.cellClicked.emit(0, COLOR)
    combo = panel.ui.classComboBox
    combo.activated.emit(combo.findText("Clip"))
    slicer_app.process_events()
    style = panel.logic.session.objects[1]
    assert (style.name, style.color) == ("grasper", "#123456")
    assert "77720000" in style.terminology
    assert not panel.logic.session.objects.is_visible(1)
    assert table.item(0, CLASS).text() == "Clip"
    table.item(0, NAME).setText("  ")
    assert "name" in slicer_app.dialogs.texts[0]
    slicer_app.process_events()
    assert table.item(0, NAME).text() == "grasper"


def test_removing_an_object_asks_first(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    slicer_app.dialogs.answers = [False, True]
    panel.ui.removeObjectButton.click()
    assert len(panel.logic.session.objects) == 1
    panel.ui.removeObjectButton.click()
    assert len(panel.logic.session.objects) == 0
    assert panel.context.selected == 0


def test_a_video_is_looked_at_before_it_is_loaded(
    panel: Any,
    slicer_app: SlicerHost,
    tmp_path: Path,
    pictures: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import Image

    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{k}.png")
    dialogs = f"{type(panel.video).__module__}.dialogs"
    monkeypatch.setattr(f"{dialogs}.ask_folder", lambda title: str(tmp_path))
    panel.ui.openFolderButton.click()
    assert not panel.ui.loadFrame.isHidden()
    assert "160 x 120 pixels, 12 frames" in panel.ui.pendingLabel.text
    before = panel.ui.memoryLabel.text
    assert "GB that are free" in before
    free = "SurgSAM2Lib.files.loading_options.free_memory"
    monkeypatch.setattr(free, lambda: 100_000)
    panel.ui.strideSpinBox.value = 2
    assert "Load at most" in panel.ui.memoryLabel.text
    assert not panel.ui.loadButton.enabled
    monkeypatch.setattr(free, lambda: 10**12)
    panel.ui.rangeWidget.setValues(2, 9)
    assert panel.ui.loadButton.enabled
    panel.ui.loadButton.click()
    slicer_app.process_events()
    assert panel.logic.session.video.frame_count == 4
    assert panel.context.parameters.video is panel.logic.session.video.browser
    assert panel.ui.loadFrame.isHidden()
    assert "number 2 of the file" in panel.ui.frameLabel.text
    panel.logic.session.video.current_frame = 3
    assert "number 8 of the file" in panel.ui.frameLabel.text
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == panel.logic.session.video.volume.GetID()


def test_a_video_that_is_dropped_or_loaded_by_the_console_is_chosen(
    panel: Any, slicer_app: SlicerHost, pictures: np.ndarray, tmp_path: Path
) -> None:
    write_mp4(tmp_path / "clip.mp4", pictures)
    browser = slicer.util.loadNodeFromFile(str(tmp_path / "clip.mp4"), "SurgicalVideo", {})
    slicer_app.process_events()
    assert panel.logic.session.video.browser is browser
    assert panel.ui.videoSelector.currentNode() is browser
    other = slicer.util.getModuleLogic("SurgSAM2").loadVideo(pictures)
    slicer_app.process_events()
    assert panel.ui.videoSelector.currentNode() is other
    panel.ui.livePreviewCheckBox.checked = False
    slicer_app.process_events()
    assert panel.logic.session.video.browser is other


def test_a_video_of_the_console_is_kept_when_the_panel_is_shown_again(
    panel: Any, clip: Any, slicer_app: SlicerHost, pictures: np.ndarray
) -> None:
    """A video chosen in the console stays chosen although it is not the first of the scene."""
    slicer.util.selectModule("")
    slicer.mrmlScene.Clear()
    slicer_app.process_events()
    load_video(slicer.mrmlScene, surgsam2.open_video(pictures), name="another")
    browser = panel.logic.loadVideo(pictures)
    panel.logic.addPoint(panel.logic.addObject(), 50, 60, frame=0)
    job = panel.logic.track()
    panel.logic.processEvents()
    slicer.util.selectModule("SurgSAM2")
    settle(panel, slicer_app)
    assert panel.logic.session.video.browser is browser
    assert panel.ui.videoSelector.currentNode() is browser
    assert job.status == "complete"
    browser.SetSelectedItemNumber(3)
    assert panel.ui.frameLabel.text.startswith("3 of")


def test_a_video_that_is_there_already_is_chosen_when_the_module_is_shown(
    slicer_app: SlicerHost, pictures: np.ndarray
) -> None:
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "heart")
    nodes = load_video(slicer.mrmlScene, surgsam2.open_video(pictures), name="clip")
    slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    slicer.util.selectModule("SurgSAM2")
    assert slicer.modules.SurgSAM2Widget.logic.session.video.browser is nodes.browser
    slicer_app.unload_module("SurgSAM2")


def test_an_unreadable_file_is_a_message(
    panel: Any, slicer_app: SlicerHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "broken.mp4"
    file.write_bytes(b"not a video at all")
    dialogs = f"{type(panel.video).__module__}.dialogs"
    monkeypatch.setattr(f"{dialogs}.ask_file", lambda title, filters: str(file))
    count = slicer.mrmlScene.GetNumberOfNodes()
    panel.ui.openVideoButton.click()
    assert "broken.mp4" in slicer_app.dialogs.texts[0]
    assert panel.ui.loadFrame.isHidden()
    assert slicer.mrmlScene.GetNumberOfNodes() == count


def test_a_browser_that_is_no_video_is_a_message(panel: Any, slicer_app: SlicerHost) -> None:
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "heart")
    panel.ui.videoSelector.setCurrentNode(browser)
    slicer_app.process_events()
    assert "heart" in panel.ui.messageLabel.text
    assert not panel.ui.messageLabel.isHidden()
    assert panel.logic.session is None


def test_an_engine_failure_is_shown_and_the_panel_goes_on(
    panel: Any, clip: Any, slicer_app: SlicerHost, client: FakeClient
) -> None:
    click(panel, slicer_app, 50, 60)
    client.fail_next = "the GPU's memory is full; choose a smaller model"
    panel.ui.trackButton.click()
    settle(panel, slicer_app)
    assert "choose a smaller model" in panel.ui.messageLabel.text
    assert panel.ui.trackButton.enabled
    panel.ui.trackButton.click()
    settle(panel, slicer_app)
    assert panel.ui.messageLabel.isHidden()


def test_cancel_button(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    click(panel, slicer_app, 50, 60)
    panel.ui.trackButton.click()
    slicer_app.process_events()
    assert not panel.ui.trackButton.enabled
    assert panel.ui.cancelButton.enabled
    panel.ui.cancelButton.click()
    settle(panel, slicer_app)
    assert panel.ui.statusLabel.text.startswith("Cancelled")
    assert panel.ui.trackButton.enabled


def test_choices_are_saved_with_the_scene(
    panel: Any, clip: Any, slicer_app: SlicerHost, tmp_path: Path
) -> None:
    click(panel, slicer_app, 50, 60)
    panel.ui.directionComboBox.currentIndex = 2
    panel.ui.onlyRangeCheckBox.checked = True
    panel.ui.lastFrameSpinBox.value = 7
    panel.ui.pruningComboBox.currentIndex = 2
    panel.ui.memoryComboBox.currentIndex = 2
    panel.ui.longTermSpinBox.value = 3
    panel.ui.minPresenceDoubleSpinBox.value = 0.7
    panel.ui.minSimilarityDoubleSpinBox.value = 0.9
    panel.ui.modelComboBox.currentIndex = panel.ui.modelComboBox.count - 1
    panel.ui.modelPathLineEdit.currentPath = "/weights/mine.pt"
    panel.logic.saveScene(tmp_path / "scene.mrb")
    slicer.mrmlScene.Clear(0)
    slicer_app.process_events()
    assert panel.logic.session is None
    assert panel.context.parameters.direction.value == "forward"
    load_scene(slicer.mrmlScene, tmp_path / "scene.mrb")
    slicer_app.process_events()
    settle(panel, slicer_app)
    assert panel.context.parameters.direction.value == "both"
    assert panel.ui.lastFrameSpinBox.value == 7
    assert panel.ui.modelPathLineEdit.currentPath == "/weights/mine.pt"
    assert panel.logic.engine.model_options.pruning == "off"
    from SurgSAM2Lib.logic.option_names import options_of

    tracking = options_of(panel.context.parameters, TrackingOptions)
    assert (tracking.memory, tracking.long_term) == ("reliable", 3)
    assert (tracking.min_presence, tracking.min_iou) == (0.7, 0.5)
    assert tracking.min_similarity == 0.9
    assert panel.logic.session is not None
    assert panel.context.selected == 1
    assert points_shown(panel) == 1


def test_settings_of_another_version_become_the_default_ones(
    panel: Any, clip: Any, slicer_app: SlicerHost, tmp_path: Path
) -> None:
    click(panel, slicer_app, 50, 60)
    panel.ui.lastFrameSpinBox.value = 7
    panel.ui.directionComboBox.currentIndex = 2
    node = panel.context.parameters.parameterNode
    panel.setParameterNode(None)
    for name, value in (("pruning", "SPARSE"), ("prune", "many"), ("dtype", "float8")):
        node.SetParameter(name, value)
    panel.logic.saveScene(tmp_path / "scene.mrb")
    slicer.mrmlScene.Clear(0)
    slicer_app.process_events()
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "scene.mrb"), False)  # as *Add data* does
    slicer_app.process_events()
    (text,) = slicer_app.dialogs.texts
    assert "cannot use" in text
    assert all(name in text for name in ("pruning", "prune", "dtype"))
    assert panel.context.parameters.pruning.value == "capped"
    assert panel.context.parameters.direction.value == "both", "what is known is kept"
    assert panel.ui.lastFrameSpinBox.value == 7
    assert panel.context.selected == 1
    assert points_shown(panel) == 1


def test_scene_close_reload_and_exit_during_a_track(
    panel: Any, clip: Any, slicer_app: SlicerHost, client: FakeClient, pictures: np.ndarray
) -> None:
    click(panel, slicer_app, 50, 60)
    panel.ui.trackButton.click()
    slicer_app.process_events()
    slicer.mrmlScene.Clear(0)
    slicer_app.process_events(20)
    assert panel.logic.session is None
    assert not panel.logic.engine.busy
    assert panel.ui.objectsTable.rowCount == 0
    nodes = load_video(slicer.mrmlScene, surgsam2.open_video(pictures), name="again")
    panel.ui.videoSelector.setCurrentNode(nodes.browser)
    panel.ui.addObjectButton.click()
    slicer_app.process_events()
    click(panel, slicer_app, 50, 60)
    panel.ui.trackButton.click()
    slicer_app.process_events()
    assert client.alive
    slicer.util.reloadScriptedModule("SurgSAM2")
    slicer_app.process_events(20)
    assert not client.alive, "the old panel's engine has ended"
    assert slicer.modules.SurgSAM2Widget is not panel


def test_a_deleted_video_leaves_a_panel_that_works(
    panel: Any, clip: Any, slicer_app: SlicerHost, pictures: np.ndarray
) -> None:
    click(panel, slicer_app, 50, 60)
    slicer.mrmlScene.RemoveNode(clip)
    slicer_app.process_events(20)
    assert panel.logic.session is None
    assert not panel.ui.trackButton.enabled


def test_segments_made_or_renamed_elsewhere_in_slicer(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    segmentation = panel.logic.session.masks.proxy.GetSegmentation()
    segmentation.GetSegment("Object_1").SetName("renamed")
    segmentation.AddEmptySegment("", "new one")
    slicer.util.selectModule("")
    slicer.util.selectModule("SurgSAM2")
    slicer_app.process_events()
    clip.SetSelectedItemNumber(9)
    names = [style.name for style in panel.logic.session.objects]
    assert names == ["renamed", "new one"]
    shown = panel.logic.session.masks.proxy.GetSegmentation()
    assert [shown.GetNthSegment(i).GetName() for i in range(2)] == names


def test_a_download_that_fails_or_is_cancelled_leaves_a_panel_that_works(
    panel: Any, clip: Any, slicer_app: SlicerHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path))  # empty
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no server listens there
    combo = panel.ui.modelComboBox
    combo.currentIndex = combo.findText("sam2.1-hiera-tiny")
    slicer_app.process_events()
    assert not panel.ui.downloadButton.isHidden()
    assert "Download this model" in panel.ui.trackButton.toolTip or not panel.ui.trackButton.enabled
    slicer_app.dialogs.answers = [False]
    panel.ui.downloadButton.click()
    assert slicer_app.dialogs.messages[-1].text.startswith("Download sam2.1-hiera-tiny from")
    panel.ui.downloadButton.click()
    assert "could not download" in slicer_app.dialogs.texts[-1]
    stopped = f"{type(panel.tracking).__module__}.dialogs.ProgressDialog.stopped"
    monkeypatch.setattr(stopped, lambda progress: True)
    count = len(slicer_app.dialogs.messages)
    panel.ui.downloadButton.click()
    assert len(slicer_app.dialogs.messages) == count + 1, "the question, and no error"


def test_shortcuts_only_while_the_module_is_shown(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    assert panel.shortcuts.active
    panel.shortcuts.actions["P"]()
    slicer_app.process_events()
    assert panel.placing.is_placing("positive")
    slicer.util.selectModule("")
    assert not panel.placing.is_placing("positive")
    assert not panel.shortcuts.active


def test_the_panel_of_an_old_slicer_says_which_one_is_needed(slicer_app: SlicerHost) -> None:
    from SurgSAM2Lib.install import python_version

    text = python_version.pythonProblem((3, 9, 18))
    assert "Slicer 5.10 or later" in text
    assert HEIGHT == 120


def test_an_object_that_nobody_has_classified_has_no_terminology(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    from SurgSAM2Lib.panel.objects_table import CLASS

    assert panel.ui.objectsTable.item(0, CLASS).text() == "", "not Slicer's default, Tissue"
    combo = panel.ui.classComboBox
    combo.activated.emit(combo.findText("Gallbladder"))
    slicer_app.process_events()
    assert panel.ui.objectsTable.item(0, CLASS).text() == "Gallbladder"
