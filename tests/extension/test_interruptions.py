"""What a user in a hurry does in the middle of something else."""

# ruff: noqa: F811 - fixtures are imported, and named again as arguments

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

import surgsam2
from surgsam2.errors import InputError
from surgsam2.mrml import load_video
from tests.conftest import moving_picture
from tests.extension.conftest import FRAMES, HEIGHT, WIDTH, LogicCore, write_mp4
from tests.extension.fake_client import FakeClient
from tests.extension.test_placing import User, user, view  # noqa: F401 - fixtures
from tests.extension.test_widget import (  # noqa: F401 - fixtures
    click,
    clip,
    panel,
    points_shown,
    settle,
)
from tests.slicer_host.host import SlicerHost


def has_mask(logic: Any) -> list[int]:
    """Return the frames on which object 1 has a mask."""
    return [frame for frame in range(FRAMES) if logic.getMask(1, frame).any()]


def start_track(logic: LogicCore, frames: int) -> Any:
    """Start a track from frame 0 and take the results of its first frames."""
    logic.addPoint(1, 50, 60, frame=0)
    job = logic.track()
    while job.done < frames:
        logic.processEvents()
    return job


def test_undo_leaves_the_track_in_progress(logic: LogicCore) -> None:
    """A change that changed nothing must not hide the track from undo."""
    logic.markGood(5)
    job = start_track(logic, 3)
    logic.markGood(5)
    with pytest.raises(InputError, match="tracking is in progress"):
        logic.undo()
    logic.wait()
    assert job.status == "complete"
    assert has_mask(logic) == [frame for frame in range(FRAMES) if frame != 5]
    assert logic.undo(), "the whole track is undone at once"
    assert has_mask(logic) == []


def test_undo_of_a_point_that_was_given_during_the_track(logic: LogicCore) -> None:
    start_track(logic, 1)
    logic.addPoint(1, 20, 20, frame=8)
    logic.wait()
    tracked = logic.getMask(1, 8).copy()
    assert logic.undo()
    assert logic.session is not None
    assert logic.session.prompts.frames(1) == [0]
    assert np.array_equal(logic.getMask(1, 8), tracked), "the mask is the track's, not the point's"
    assert logic.redo()
    assert np.array_equal(logic.getMask(1, 8), tracked)
    assert logic.undo()
    assert logic.undo()
    assert has_mask(logic) == []


@pytest.fixture
def slow_engine(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make the engine give nothing until the test removes the patch."""
    with monkeypatch.context() as patch:
        yield lambda: patch.setattr(client, "poll", lambda timeout=0.0: []), patch.undo


def place(panel: Any, host: SlicerHost, x: float, y: float) -> None:
    """Click on the object without waiting for the engine."""
    node = panel.placing.markups.node("positive")
    node.AddControlPointWorld(vtk.vtkVector3d(*panel.logic.session.video.ras_of(x, y)))
    host.process_events()


def show_a_tracked_frame(panel: Any, clip: Any, host: SlicerHost) -> None:
    """Track an object through the clip and show frame 4, where a click corrects its mask."""
    click(panel, host, 50, 60)
    panel.logic.track(wait=True)
    clip.SetSelectedItemNumber(4)
    settle(panel, host)


def test_corrections_that_are_clicked_faster_than_the_engine_answers(
    panel: Any, clip: Any, slicer_app: SlicerHost, slow_engine: Any
) -> None:
    stall, go_on = slow_engine
    show_a_tracked_frame(panel, clip, slicer_app)
    stall()
    clicked = [[20, 20, 1], [30, 30, 1], [40, 40, 1]]
    for x, y, _label in clicked:
        place(panel, slicer_app, x, y)
    assert points_shown(panel) == 3
    panel.ui.undoButton.click()
    slicer_app.process_events()
    assert points_shown(panel) == 2
    go_on()
    settle(panel, slicer_app)
    np.testing.assert_allclose(panel.logic.session.clicks(1, 4), clicked[:2])
    assert has_mask(panel.logic) == list(range(FRAMES)), "the track was not undone"


def test_undo_of_a_correction_that_the_engine_has_not_carried_out(
    panel: Any, clip: Any, slicer_app: SlicerHost, slow_engine: Any
) -> None:
    stall, go_on = slow_engine
    show_a_tracked_frame(panel, clip, slicer_app)
    before = panel.logic.getMask(1, 4).copy()
    panel.logic.session.history.forget()  # as in a scene that was opened
    stall()
    place(panel, slicer_app, 20, 20)
    assert panel.ui.undoButton.enabled
    panel.ui.undoButton.click()
    go_on()
    settle(panel, slicer_app)
    assert not len(panel.logic.session.clicks(1, 4))
    assert np.array_equal(panel.logic.getMask(1, 4), before)
    assert has_mask(panel.logic) == list(range(FRAMES)), "the track was not undone"


@pytest.mark.parametrize("change", ["lasso", "clear", "box", "remove"])
def test_a_later_prompt_takes_the_place_of_a_correction_that_waits(
    logic: LogicCore, client: FakeClient, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    with monkeypatch.context() as patch:
        patch.setattr(client, "poll", lambda timeout=0.0: [])
        logic.correct(1, [[20, 20, 1]], frame=4)
        if change == "lasso":
            logic.setLasso(1, [[70, 70], [90, 70], [80, 90]], frame=4)
        elif change == "box":
            logic.setBox(1, [70, 70, 90, 90], frame=4)
        elif change == "clear":
            logic.clearPrompts(1, frame=4)
        else:
            logic.removeObject(1)
    assert logic.wait(10)
    assert logic.session is not None
    if change == "remove":
        assert not len(logic.session.prompts)
        return
    assert (4 in logic.session.prompts.frames(1)) == (change != "clear")
    assert not logic.getMask(1, 4)[20, 20]


def test_a_track_begins_from_the_correction_that_was_clicked_just_before(
    panel: Any, clip: Any, slicer_app: SlicerHost, client: FakeClient
) -> None:
    show_a_tracked_frame(panel, clip, slicer_app)
    client.sent.clear()
    node = panel.placing.markups.node("positive")
    node.AddControlPointWorld(vtk.vtkVector3d(*panel.logic.session.video.ras_of(20, 20)))
    slicer_app.app.processEvents()
    panel.ui.trackForwardButton.click()
    settle(panel, slicer_app)
    assert client.sent[-2:] == ["refine", "track"]
    assert panel.logic.session.prompts.frames(1) == [0, 4]
    assert panel.logic.getMask(1, 6)[20, 20 + 2 * 2], "it follows what the click has added"


@pytest.mark.parametrize("change", ["absent", "erase", "copy", "interpolate", "track", "track on"])
def test_nothing_changes_when_all_objects_are_locked(logic: LogicCore, change: str) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    logic.lockObject(1)
    assert logic.session is not None
    changes: dict[str, Callable[[], Any]] = {
        "absent": lambda: logic.markAbsent(2, 5),
        "erase": lambda: logic.eraseMasks(2, 5),
        "copy": lambda: logic.copyMasks(0, 2, 5),
        "interpolate": lambda: logic.interpolate(0, 8),
        "track": logic.track,
        "track on": lambda: logic.trackFrom(3),
    }
    steps = len(logic.session.history)
    with pytest.raises(InputError, match="all these objects are locked; unlock one"):
        changes[change]()
    assert len(logic.session.history) == steps
    assert has_mask(logic) == list(range(FRAMES))


def test_range_edits_need_an_object(logic: LogicCore) -> None:
    logic.removeObject(1)
    with pytest.raises(InputError, match="add an object first"):
        logic.markAbsent(2, 5)


def test_the_range_of_a_longer_video_is_not_kept(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    panel.timeline.select(8, 11)
    panel.ui.onlyRangeCheckBox.checked = True
    short = surgsam2.open_video(moving_picture(4, WIDTH, HEIGHT))
    browser = load_video(slicer.mrmlScene, short, name="short").browser
    panel.ui.videoSelector.setCurrentNode(browser)
    slicer_app.process_events()
    panel.ui.addObjectButton.click()
    slicer_app.process_events()
    click(panel, slicer_app, 50, 60)
    assert not panel.ui.onlyRangeCheckBox.checked
    assert (panel.ui.firstFrameSpinBox.value, panel.ui.lastFrameSpinBox.value) == (0, 3)
    panel.ui.trackButton.click()
    settle(panel, slicer_app)
    assert panel.ui.statusLabel.text == "Finished: 4 frames"


def test_a_click_counts_for_the_frame_and_object_that_were_shown(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    """A video that plays shows another frame before Slicer is idle."""
    node = panel.placing.markups.node("positive")
    node.AddControlPointWorld(vtk.vtkVector3d(*panel.logic.session.video.ras_of(50, 60)))
    clip.SetSelectedItemNumber(5)
    settle(panel, slicer_app)
    assert panel.logic.session.prompts.frames(1) == [0]
    panel.ui.addObjectButton.click()
    slicer_app.process_events()
    node.AddControlPointWorld(vtk.vtkVector3d(*panel.logic.session.video.ras_of(90, 60)))
    panel.context.select_object(1)
    settle(panel, slicer_app)
    assert panel.logic.session.prompts.frames(1) == [0]
    assert panel.logic.session.prompts.frames(2) == [5]


def test_the_scene_is_closed_while_a_video_is_loaded(
    panel: Any, slicer_app: SlicerHost, pictures: np.ndarray
) -> None:
    def progress(done: int, _total: int) -> None:
        if done == 3:
            slicer.mrmlScene.Clear(0)

    with pytest.raises(InputError, match="the scene was closed while array was loaded"):
        panel.logic.videos.load(surgsam2.open_video(pictures), progress=progress)
    settle(panel, slicer_app)
    assert not slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    assert panel.logic.session is None


def test_frames_that_another_module_removes(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    click(panel, slicer_app, 50, 60)
    panel.ui.trackButton.click()
    panel.logic.processEvents()
    session = panel.logic.session
    for frame in (11, 10):
        session.video.sequence.RemoveDataNodeAtValue(session.video.sequence.GetNthIndexValue(frame))
    settle(panel, slicer_app)
    panel.context.refresh()
    assert panel.ui.messageLabel.text.startswith("The video has 10 frames now and had 12")
    for press in panel._keys().values():
        press()
        settle(panel, slicer_app)
    panel.ui.videoSelector.setCurrentNode(clip)
    slicer_app.process_events()
    assert "delete the text node 'clip browser prompts'" in panel.ui.messageLabel.text
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("clip browser prompts"))
    panel.ui.videoSelector.setCurrentNode(None)
    slicer_app.process_events()
    panel.ui.videoSelector.setCurrentNode(clip)
    slicer_app.process_events()
    assert [style.name for style in panel.logic.session.objects] == ["Object 1"]
    click(panel, slicer_app, 50, 60)
    panel.ui.trackButton.click()
    settle(panel, slicer_app)
    assert panel.ui.statusLabel.text == "Finished: 10 frames"


def test_a_name_that_another_module_gives_is_shown_at_once(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    from SurgSAM2Lib.panel.objects_table import NAME

    session = panel.logic.session
    segmentation = session.masks.proxy.GetSegmentation()
    segmentation.GetSegment(session.objects.segment_id(1)).SetName("hook\nprobe")
    slicer_app.process_events()
    assert panel.ui.objectsTable.item(0, NAME).text() == "hook probe"


@pytest.mark.parametrize("button", ["scribbleButton", "lassoButton"])
def test_another_module_is_shown_during_a_drag(
    user: User,
    panel: Any,
    slicer_app: SlicerHost,
    button: str,
) -> None:
    user.press(button)
    user.begin_drag((40, 60), (60, 60), (60, 80))
    slicer.util.selectModule("")
    user.end_drag(40, 80)
    slicer.util.selectModule("SurgSAM2")
    slicer_app.process_events()
    assert len(panel.logic.session.prompts) <= 1, "what was drawn may have become a prompt"
    panel.logic.clearPrompts(1)
    user.press("scribbleButton")
    user.drag((40, 60), (50, 60), (60, 60))
    assert len(panel.logic.session.clicks(1, 0))
    for node in slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode"):
        assert node.GetNumberOfDefinedControlPoints() == 0


def test_the_scene_is_closed_during_a_drag(
    user: User,
    panel: Any,
    slicer_app: SlicerHost,
) -> None:
    user.press("lassoButton")
    user.begin_drag((40, 60), (60, 60), (60, 80))
    slicer.mrmlScene.Clear(0)
    slicer_app.process_events()
    assert panel.logic.session is None


@pytest.mark.parametrize("which", ["segmentation", "video"])
def test_a_node_is_deleted_while_painting(
    panel: Any, clip: Any, slicer_app: SlicerHost, which: str
) -> None:
    panel.ui.paintButton.click()
    slicer_app.process_events()
    slicer.mrmlScene.RemoveNode(clip if which == "video" else panel.logic.session.masks.proxy)
    slicer_app.process_events()
    panel.context.refresh()
    assert panel.objects.painting.shown == (which == "segmentation"), "it is made again"
    assert ("deleted" in panel.ui.messageLabel.text) == (which == "video")


def test_the_module_is_reloaded_while_tracking(
    panel: Any, clip: Any, slicer_app: SlicerHost
) -> None:
    """Nothing of the former panel may be called, or be collected while VTK may call it."""
    click(panel, slicer_app, 50, 60)
    panel.ui.trackButton.click()
    panel.logic.processEvents()
    node = panel.context.parameters.parameterNode
    slicer.util.reloadScriptedModule("SurgSAM2")
    slicer_app.process_events()
    assert slicer.modules.SurgSAM2Widget is not panel
    gc.collect()
    node.Modified()
    clip.SetSelectedItemNumber(3)
    slicer.mrmlScene.Clear(0)


def test_a_logic_that_was_not_closed(
    slicer_app: SlicerHost, pictures: np.ndarray, client: FakeClient
) -> None:
    """The garbage collector takes it while VTK still has its observers."""
    browser = load_video(slicer.mrmlScene, surgsam2.open_video(pictures), name="clip").browser
    core = LogicCore(slicer.mrmlScene, makeClient=lambda: client)  # type: ignore[arg-type, return-value]
    core.setVideo(browser)
    core.addObject("tool")
    del core
    gc.collect()
    browser.SetSelectedItemNumber(4)
    slicer.mrmlScene.Clear(0)


def test_a_file_is_dropped_twice(
    panel: Any, slicer_app: SlicerHost, tmp_path: Path, pictures: np.ndarray
) -> None:
    file = tmp_path / "clip.mp4"
    write_mp4(file, pictures)
    for _ in range(2):
        slicer.util.loadNodeFromFile(str(file), "SurgicalVideo")
        slicer_app.process_events()
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    assert [node.GetName() for node in browsers] == ["clip browser", "clip browser_1"]
    assert panel.context.browser is browsers[0], "the second one does not take over"
    folders = set()
    for _ in range(2):
        panel.logic.streamVideo(file)
        folders.add(panel.logic.session.masks.folder)
    assert len(folders) == 2, "each has its own masks"


def test_keys_and_buttons_at_random(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    """Refusals are messages; nothing else happens, and the panel still works."""
    random = np.random.default_rng(27)
    press = [*panel._keys().values(), panel.ui.cancelButton.click, panel.ui.addObjectButton.click]
    for name in ("interpolate", "copyMask", "erase", "trackBetween", "clearFrame"):
        press.append(getattr(panel.ui, f"{name}Button").click)
    for _ in range(150):
        press[random.integers(len(press))]()
        if random.random() < 0.3:
            node = panel.placing.markups.node("positive")
            ras = panel.logic.session.video.ras_of(*(10 + 90 * random.random(2)))
            node.AddControlPointWorld(vtk.vtkVector3d(*ras))
        if random.random() < 0.5:
            panel.logic.processEvents()
        if random.random() < 0.3:
            slicer_app.process_events(1)
        if random.random() < 0.1:
            panel.timeline.select(*sorted(random.integers(0, FRAMES, 2).tolist()))
    settle(panel, slicer_app)
    panel.logic.track(wait=True)
