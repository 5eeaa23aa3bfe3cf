"""The section *Segment live* of the panel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from surgsam2.engine import ConnectionChanged
from surgsam2.mrml import open_video_nodes, set_box
from surgsam2.mrml.loading import frame_node, image_of
from surgsam2.tracking.options import TrackingOptions
from tests.extension.conftest import HEIGHT, MODULE_FOLDER, WIDTH
from tests.extension.fake_live_client import FakeLiveClient, disc_in
from tests.slicer_host.host import SlicerHost


@pytest.fixture
def client() -> FakeLiveClient:
    return FakeLiveClient()


@pytest.fixture
def panel(slicer_app: SlicerHost, client: FakeLiveClient) -> Iterator[Any]:
    slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    slicer.util.selectModule("SurgSAM2")
    widget = slicer.modules.SurgSAM2Widget
    widget.logic.live.use_client(lambda: client)
    slicer_app.process_events()
    yield widget
    slicer_app.unload_module("SurgSAM2")


@pytest.fixture
def volume(panel: Any, slicer_app: SlicerHost, pictures: np.ndarray) -> Any:
    node = slicer.mrmlScene.AddNode(frame_node("camera"))
    node.SetAndObserveImageData(image_of(pictures[0]))
    slicer_app.process_events()
    return node


@pytest.fixture
def live(panel: Any, volume: Any, slicer_app: SlicerHost, client: FakeLiveClient) -> Any:
    """The widgets of the section, with a running session."""
    ui = panel.live.ui
    ui.liveVolumeSelector.setCurrentNode(volume)
    slicer_app.process_events()
    ui.liveButton.click()
    run(panel, slicer_app, client, 2)
    return ui


def run(panel: Any, host: SlicerHost, client: FakeLiveClient, segments: int = 1) -> None:
    panel.logic.processEvents()
    for _ in range(segments):
        client.segment()
        panel.logic.processEvents()
    host.process_events()


def click(panel: Any, host: SlicerHost, kind: str, x: float, y: float) -> None:
    """Place a control point, as a click in the Red view does."""
    marks = panel.live.marks
    node = marks.markups.node(kind)
    node.AddControlPointWorld(vtk.vtkVector3d(*marks.picture.ras_of(x, y)))
    host.process_events()


def points_shown(panel: Any) -> int:
    nodes = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
    return sum(node.GetNumberOfDefinedControlPoints() for node in nodes)


def test_nothing_can_be_pressed_before_there_is_a_volume(panel: Any) -> None:
    ui = panel.live.ui
    assert ui.liveStatusLabel.text == "Not running"
    for button in (ui.liveButton, ui.addLiveObjectButton, ui.liveHoldButton, ui.liveRecordButton):
        assert not button.enabled
        assert button.toolTip
    assert ui.liveMessageLabel.isHidden()


def test_start_mark_stop(
    panel: Any, live: Any, volume: Any, slicer_app: SlicerHost, client: FakeLiveClient,
    pictures: np.ndarray,
) -> None:  # fmt: skip
    assert live.liveButton.text == "Stop"
    assert live.liveObjectComboBox.currentText == "Object 1"
    live.livePositiveButton.checked = True
    slicer_app.process_events()
    assert live.livePositiveButton.checked, "the next clicks are points"
    volume.SetAndObserveImageData(image_of(pictures[2]))
    click(panel, slicer_app, "positive", 40, 60)
    prompts, image = client.prompts[0]
    assert np.array_equal(image, pictures[2])
    np.testing.assert_allclose(prompts.for_object(1).prompts[0].points, [[40, 60]], atol=1e-6)
    assert points_shown(panel) == 0, "the picture moves on under a point"
    run(panel, slicer_app, client)
    assert np.array_equal(panel.logic.live.masks.mask(1), disc_in(pictures[2]))
    assert "frames/s, latency" in live.liveStatusLabel.text
    live.liveButton.click()
    slicer_app.process_events()
    assert live.liveButton.text == "Segment live"
    assert "Not running: " in live.liveStatusLabel.text, "the numbers stay to be read"
    assert panel.logic.live.masks.mask(1).any()


def test_several_points_in_a_picture_that_is_held(
    panel: Any, live: Any, volume: Any, slicer_app: SlicerHost, client: FakeLiveClient,
    pictures: np.ndarray,
) -> None:  # fmt: skip
    live.liveHoldButton.click()
    slicer_app.process_events()
    masks = panel.logic.live.masks.proxy
    assert not masks.GetDisplayVisibility()
    volume.SetAndObserveImageData(image_of(pictures[5]))
    run(panel, slicer_app, client)
    live.livePositiveButton.checked = True
    click(panel, slicer_app, "positive", 20, 60)
    live.liveNegativeButton.checked = True
    click(panel, slicer_app, "negative", 90, 100)
    prompts, image = client.prompts[-1]
    assert np.array_equal(image, pictures[0])
    prompt = prompts.for_object(1).prompts[0]
    np.testing.assert_allclose(prompt.points, [[20, 60], [90, 100]], atol=1e-6)
    assert prompt.labels.tolist() == [1, 0]
    assert points_shown(panel) == 2
    live.liveHoldButton.click()
    slicer_app.process_events()
    assert masks.GetDisplayVisibility()
    assert points_shown(panel) == 0
    assert slicer.mrmlScene.GetFirstNodeByName("Held picture") is None


@pytest.mark.parametrize("end", ["another size", "stop"])
def test_a_held_picture_goes_when_it_can_be_marked_no_more(
    panel: Any, live: Any, volume: Any, slicer_app: SlicerHost, client: FakeLiveClient,
    pictures: np.ndarray, end: str,
) -> None:  # fmt: skip
    live.liveHoldButton.click()
    slicer_app.process_events()
    if end == "stop":
        live.liveButton.click()
    else:
        volume.SetAndObserveImageData(image_of(np.ascontiguousarray(pictures[2][:60, :80])))
        panel.logic.processEvents()
    slicer_app.process_events()
    assert slicer.mrmlScene.GetFirstNodeByName("Held picture") is None
    assert not live.liveHoldButton.checked
    assert panel.logic.live.masks.proxy.GetDisplayVisibility()


def test_objects_are_renamed(panel: Any, live: Any, slicer_app: SlicerHost) -> None:
    live.liveNameEdit.setText("hook")
    live.liveNameEdit.editingFinished.emit()
    slicer_app.process_events()
    assert [style.name for style in panel.logic.live.objects] == ["hook"]
    assert live.liveObjectComboBox.currentText == "hook"
    live.liveNameEdit.setText(" ")
    live.liveNameEdit.editingFinished.emit()
    slicer_app.process_events()
    assert live.liveNameEdit.text == "hook", "a refused name goes back"
    assert slicer_app.dialogs.texts


def test_volume_and_limit_are_saved_with_the_scene(
    panel: Any, live: Any, volume: Any, slicer_app: SlicerHost
) -> None:
    live.liveLimitSpinBox.value = 3.5
    slicer_app.process_events()
    saved = panel.logic.getParameterNode()
    assert saved.liveVolume is volume
    assert saved.liveGigabytes == 3.5
    live.liveButton.click()
    saved.liveVolume = None
    slicer_app.process_events()
    assert live.liveVolumeSelector.currentNode() is None
    assert not live.liveButton.enabled


def test_a_box(panel: Any, live: Any, slicer_app: SlicerHost, client: FakeLiveClient) -> None:
    live.liveBoxButton.checked = True
    slicer_app.process_events()
    marks = panel.live.marks
    set_box(marks.markups.node("box"), marks.picture, [10, 20, 60, 80])
    live.liveBoxButton.checked = False
    slicer_app.process_events(10)
    (prompts, _image), *more = client.prompts
    assert not more
    np.testing.assert_allclose(prompts.for_object(1).prompts[0].box, [10, 20, 60, 80], atol=1e-6)


def test_a_refusal_is_shown_and_the_button_goes_back(
    panel: Any, live: Any, slicer_app: SlicerHost, client: FakeLiveClient
) -> None:
    live.liveLimitSpinBox.value = 1000
    live.liveRecordButton.click()
    slicer_app.process_events()
    assert any("are free" in text for text in slicer_app.dialogs.texts)
    assert not live.liveRecordButton.checked
    live.liveNegativeButton.checked = True
    click(panel, slicer_app, "negative", 90, 100)
    assert any("positive" in text or "on the object" in text for text in slicer_app.dialogs.texts)
    assert not client.prompts


def test_record(
    panel: Any, live: Any, volume: Any, slicer_app: SlicerHost, client: FakeLiveClient,
    pictures: np.ndarray,
) -> None:  # fmt: skip
    live.liveRecordButton.click()
    slicer_app.process_events()
    assert live.liveRecordButton.checked
    for picture in pictures[1:4]:
        volume.SetAndObserveImageData(image_of(picture))
        run(panel, slicer_app, client)
    panel.context.refresh()
    assert "Recorded: 3 frames, 0.00 of 2.0 GB" in live.liveStatusLabel.text
    live.liveRecordButton.click()
    slicer_app.process_events()
    assert not live.liveRecordButton.checked
    browser = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")[0]
    assert open_video_nodes(browser).frame_count == 3


def test_messages_and_objects(
    panel: Any, live: Any, slicer_app: SlicerHost, client: FakeLiveClient
) -> None:
    live.addLiveObjectButton.click()
    slicer_app.process_events()
    assert live.liveObjectComboBox.currentText == "Object 2"
    live.removeLiveObjectButton.click()
    slicer_app.process_events()
    assert live.liveObjectComboBox.currentText == "Object 1"
    client.fail(client.session, "out of memory on cuda")
    panel.logic.processEvents()
    slicer_app.process_events()
    assert not live.liveMessageLabel.isHidden()
    assert "out of memory" in live.liveMessageLabel.text
    assert live.liveButton.text == "Segment live"


def test_the_timer_works_by_itself(
    panel: Any, live: Any, volume: Any, slicer_app: SlicerHost, client: FakeLiveClient,
    pictures: np.ndarray,
) -> None:  # fmt: skip
    volume.SetAndObserveImageData(image_of(pictures[1]))
    end = time.monotonic() + 30
    while panel.logic.liveStatistics().segmented < 2 and time.monotonic() < end:
        client.segment()
        slicer_app.process_events()
        time.sleep(0.005)
    assert panel.logic.liveStatistics().segmented == 2


def test_masks_are_made_and_remembered_as_chosen_for_tracking(
    panel: Any, live: Any, slicer_app: SlicerHost, client: FakeLiveClient
) -> None:
    assert client.options == [TrackingOptions()]
    live.liveButton.click()
    chosen = panel.context.parameters
    chosen.memory = type(chosen.memory)("reliable")
    chosen.minSimilarity, chosen.minRegion = 0.8, 0.0
    live.liveButton.click()
    run(panel, slicer_app, client)
    assert client.options[1] == TrackingOptions(
        memory="reliable", min_similarity=0.8, min_region=0.0
    )


def test_the_scene_is_closed_while_it_runs(
    panel: Any, live: Any, slicer_app: SlicerHost, client: FakeLiveClient
) -> None:
    live.liveHoldButton.click()
    live.liveRecordButton.click()
    slicer.mrmlScene.Clear(0)
    slicer_app.process_events(10)
    assert not client.alive
    assert not panel.logic.live.running
    assert live.liveStatusLabel.text.startswith("Not running")
    assert client.sessions[0] == (WIDTH, HEIGHT)


def test_an_engine_that_does_not_answer_is_reported(
    panel: Any, live: Any, slicer_app: SlicerHost, client: FakeLiveClient
) -> None:
    client.tell(ConnectionChanged("silent", "The engine process has said nothing."))
    run(panel, slicer_app, client)
    assert live.liveMessageLabel.text == "The engine process has said nothing."
    assert live.liveMessageLabel.isHidden() is False
    client.tell(ConnectionChanged("connected", "It answers again."))
    run(panel, slicer_app, client)
    assert live.liveMessageLabel.isHidden()
