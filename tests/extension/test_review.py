"""Review of a track with a known failure: found, listed, shown, saved and exported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from PIL import Image
from SurgSAM2Lib.logic import LogicCore

import surgsam2
from surgsam2.errors import InputError, OutputError
from surgsam2.mrml import load_scene, load_video
from surgsam2.outputs import INCOMPLETE
from surgsam2.prompts import Prompt
from surgsam2.results.review import Reason, Stretch
from tests.extension.conftest import FRAMES, MODULE_FOLDER, WIDTH
from tests.extension.fake_client import FakeClient
from tests.slicer_host.host import SlicerHost

FAILURE = Stretch(1, 6, 8, (Reason.POSITION,))
"""The jump away on frame 6, and back on frame 8."""


class FailingClient(FakeClient):
    """A fake client whose masks are wrong on frames 6 and 7."""

    def _at(self, prompts: Sequence[Prompt], frame: int) -> np.ndarray:
        mask = super()._at(prompts, frame)
        return np.roll(mask, 50, axis=0) if frame in (6, 7) else mask


@pytest.fixture
def client() -> FakeClient:
    return FailingClient()


@pytest.fixture
def tracked(logic: LogicCore) -> LogicCore:
    """The logic with one object, "tool", tracked through the clip with the failure."""
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    return logic


def stretches(logic: LogicCore) -> list[Stretch]:
    return logic.currentSession.review.stretches


def masks_of(logic: LogicCore, object_id: int = 1) -> list[np.ndarray]:
    return [logic.getMask(object_id, frame) for frame in range(FRAMES)]


def opened(path: Path) -> LogicCore:
    scene = slicer.vtkMRMLScene()
    load_scene(scene, path)
    logic = LogicCore(scene, makeClient=FakeClient)
    logic.setVideo(scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))
    return logic


def empty_copy(pictures: np.ndarray) -> LogicCore:
    """The same video in a scene without masks."""
    scene = slicer.vtkMRMLScene()
    logic = LogicCore(scene, makeClient=FakeClient)
    logic.setVideo(load_video(scene, surgsam2.open_video(pictures), name="clip").browser)
    return logic


# measurements and doubtful frames


def test_the_planted_failure_is_in_the_list(tracked: LogicCore) -> None:
    assert stretches(tracked) == [FAILURE]
    measured = tracked.currentSession.review.measurements
    assert np.isfinite(measured.of(1, "area")).all()
    assert np.allclose(measured.of(1, "iou"), 0.9)


def test_a_corrected_stretch_is_not_doubtful_any_more(tracked: LogicCore) -> None:
    for frame in (6, 7):
        tracked.setMask(1, np.roll(tracked.getMask(1, 5), 2 * (frame - 5), axis=1), frame)
    assert stretches(tracked) == []
    tracked.undo()
    assert [s.first for s in stretches(tracked)] == [7]


def test_good_frames_are_not_doubtful_bad_ones_are(tracked: LogicCore) -> None:
    session = tracked.currentSession
    tracked.markGood(range(6, 9))
    assert stretches(tracked) == []
    tracked.markBad([8, 9])
    assert list(session.good) == [6, 7], "a frame is not both"
    assert stretches(tracked) == [
        Stretch(1, 8, 8, (Reason.POSITION,)),
        Stretch(None, 8, 9, (Reason.BAD,)),
    ]
    tracked.markGood(8)
    assert list(session.bad) == [9]


def test_a_removed_object_is_not_listed(tracked: LogicCore) -> None:
    tracked.currentSession.review.publish()
    tracked.removeObject(1)
    assert stretches(tracked) == []


def test_good_frames_keep_what_was_measured(tracked: LogicCore) -> None:
    before = tracked.currentSession.review.measurements.of(1, "x").copy()
    tracked.markGood(range(FRAMES))
    tracked.addPoint(1, 90, 60, frame=0)
    tracked.track(wait=True)
    after = tracked.currentSession.review.measurements.of(1, "x")
    assert np.array_equal(before[1:], after[1:])


def test_deleted_tables_and_charts_are_made_anew(tracked: LogicCore) -> None:
    review = tracked.currentSession.review
    assert review.publish()
    for name in ("table", "doubtful_table"):
        tracked.scene.RemoveNode(getattr(review.nodes, name))
    tracked.scene.RemoveNode(review.nodes.chart("scores"))
    assert review.publish()
    assert not review.publish()
    assert review.nodes.table.GetNumberOfRows() == FRAMES
    series = review.nodes.chart("scores").GetNthPlotSeriesNode(0)
    assert series.GetTableNode() is review.nodes.table


def test_table_plots_and_marks_survive_saving(tracked: LogicCore, tmp_path: Path) -> None:
    tracked.markGood([6, 7])
    tracked.markBad([2])
    tracked.saveScene(tmp_path / "a.mrb")
    other = opened(tmp_path / "a.mrb")
    session = other.currentSession
    assert (list(session.good), list(session.bad)) == ([6, 7], [2])
    assert stretches(other) == stretches(tracked)
    review = session.review
    assert not review.publish(), "what is in the scene is up to date"
    assert review.nodes.table.GetNumberOfRows() == FRAMES
    assert review.nodes.doubtful_table.GetNumberOfRows() == len(stretches(other)) == 2
    assert review.nodes.chart("scores").GetNumberOfPlotSeriesNodes() == 4
    assert review.nodes.chart("areas").GetNthPlotSeriesNode(0).GetTableNode() is review.nodes.table


def test_masks_without_a_review_can_be_measured(tracked: LogicCore, tmp_path: Path) -> None:
    for frame in range(FRAMES):
        tracked.currentSession.masks.write(frame, {1: tracked.getMask(1, 5)})
        tracked.currentSession.review.measure(frame)
    assert stretches(tracked) == []


# files


@pytest.mark.parametrize("source", ["masks", "annotations.coco.json", "."])
def test_exported_masks_come_back_equal(
    tracked: LogicCore, pictures: np.ndarray, tmp_path: Path, source: str
) -> None:
    second = tracked.addObject("clip", "#123456")
    painted = np.zeros_like(tracked.getMask(1, 0))
    painted[:20, :30] = True
    tracked.setMask(second, painted, frame=3)
    tracked.exportResults(tmp_path / "out", ["png", "coco", "csv"])
    assert not (tmp_path / "out" / INCOMPLETE).exists()
    other = empty_copy(pictures)
    assert other.importMasks(tmp_path / "out" / source) == list(range(FRAMES))
    for object_id in (1, second):
        assert all(
            np.array_equal(a, b)
            for a, b in zip(masks_of(other, object_id), masks_of(tracked, object_id), strict=True)
        )
    assert [style.color for style in other.currentSession.objects] == ["#11aa55", "#123456"]
    assert FAILURE in stretches(other), "imported masks are measured"


def test_scores_and_names_are_in_the_coco_file(tracked: LogicCore, tmp_path: Path) -> None:
    tracked.exportResults(tmp_path / "out", ["coco"])
    data = json.loads((tmp_path / "out/annotations.coco.json").read_text())
    assert data["categories"][0]["name"] == "tool"
    assert {item["score"] for item in data["annotations"]} == {0.9}
    other = empty_copy(tracked.currentSession.video.frame(0)[None].repeat(FRAMES, 0))
    other.importMasks(tmp_path / "out/annotations.coco.json")
    assert other.currentSession.objects[1].name == "tool"


def test_the_overlay_video_has_the_frames(tracked: LogicCore, tmp_path: Path) -> None:
    tracked.exportResults(tmp_path / "out", ["overlay"])
    with surgsam2.open_video(tmp_path / "out/overlay.mp4") as video:
        assert (video.width, video.frame_count) == (WIDTH, FRAMES)


def test_imported_masks_as_prompts_can_be_tracked(
    tracked: LogicCore, pictures: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(tracked.getMask(1, 4).astype(np.uint8)).save(tmp_path / "00004.png")
    other = empty_copy(pictures)
    assert other.importMasks(tmp_path, asPrompts=True) == [4]
    assert other.currentSession.prompts.frames(1) == [4]
    other.track(wait=True)
    assert np.array_equal(other.getMask(1, 5), np.roll(tracked.getMask(1, 4), 2, axis=1))


def test_prompts_on_other_frames_stay_when_masks_are_imported(
    tracked: LogicCore, tmp_path: Path
) -> None:
    Image.fromarray(tracked.getMask(1, 4).astype(np.uint8)).save(tmp_path / "00004.png")
    tracked.importMasks(tmp_path, asPrompts=True)
    assert tracked.currentSession.prompts.frames(1) == [0, 4]


def test_polygons_and_plain_run_lengths_are_read(logic: LogicCore, tmp_path: Path) -> None:
    size = {"height": 120, "width": 160}
    runs = {"counts": [10, 20, 120 * 160 - 30], "size": [120, 160]}
    corners = [[10, 10, 30, 10, 30, 20, 10, 20]]
    data = {
        "images": [{"id": 7, "file_name": "frame_00002.jpg", **size}],
        "categories": [{"id": 1, "name": "tool"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "segmentation": corners},
            {"image_id": 7, "category_id": 2, "segmentation": runs},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert logic.importMasks(tmp_path / "a.json") == [2]
    assert logic.getMask(1, 2)[10:20, 10:30].all()
    assert logic.getMask(1, 2).sum() == 200
    assert logic.getMask(2, 2).sum() == 20


BAD_FILES = {
    "no number": ("name.png", np.ones((120, 160), np.uint8), "no frame number"),
    "late": ("00012.png", np.ones((120, 160), np.uint8), "the last one is frame 11"),
    "size": ("00001.png", np.ones((60, 160), np.uint8), "160 x 60 pixels"),
    "empty": ("00001.png", np.zeros((120, 160), np.uint8), "no masks"),
}


@pytest.mark.parametrize("case", list(BAD_FILES))
def test_label_images_that_do_not_fit_change_nothing(
    logic: LogicCore, tmp_path: Path, case: str
) -> None:
    name, labels, text = BAD_FILES[case]
    Image.fromarray(labels).save(tmp_path / name)
    with pytest.raises(InputError, match=text):
        logic.importMasks(tmp_path)
    assert not logic.getMask(1, 1).any()


@pytest.mark.parametrize("text", ["{", "[]", '{"images": [{}], "annotations": []}'])
def test_damaged_coco_files_are_a_message(logic: LogicCore, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json"):
        logic.importMasks(tmp_path / "a.json")


def test_what_cannot_be_exported_is_a_message(logic: LogicCore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no masks to export"):
        logic.exportResults(tmp_path / "out")
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="full"):
        logic.exportResults(tmp_path / "full")
    logic.exportResults(tmp_path / "out", ["png"], shouldStop=lambda: True)
    assert (tmp_path / "out" / INCOMPLETE).exists()
    assert len(list((tmp_path / "out/masks").iterdir())) == 1


# the panel


@pytest.fixture
def panel(slicer_app: SlicerHost, client: FakeClient, pictures: np.ndarray) -> Iterator[Any]:
    """The module's widget with the tracked clip."""
    slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    slicer.util.selectModule("SurgSAM2")
    widget = slicer.modules.SurgSAM2Widget
    widget.logic.engine.use_client(lambda: client)
    video = load_video(slicer.mrmlScene, surgsam2.open_video(pictures), name="clip")
    widget.context.choose_video(video.browser)
    widget.logic.addObject("tool", "#11aa55")
    widget.logic.addPoint(1, 50, 60, frame=0)
    widget.logic.track(wait=True)
    slicer_app.process_events(10)
    yield widget
    slicer_app.unload_module("SurgSAM2")


def test_the_table_lists_it_and_a_row_jumps_there(panel: Any, slicer_app: SlicerHost) -> None:
    ui, video = panel.review.ui, panel.logic.session.video
    assert ui.doubtfulTable.rowCount == 1
    texts = [ui.doubtfulTable.item(0, column).text() for column in range(3)]
    assert texts == ["tool", "6 - 8", "position jumps"]
    assert ui.reviewLabel.text == "Doubtful stretches: 1 (3 of 12 frames)"
    ui.doubtfulTable.selectRow(0)
    slicer_app.process_events()
    assert video.current_frame == 6


def test_the_browser_selects_the_row(panel: Any, slicer_app: SlicerHost) -> None:
    table, video = panel.review.ui.doubtfulTable, panel.logic.session.video
    for frame, rows in ((7, [0]), (9, []), (8, [0]), (2, [])):
        video.current_frame = frame
        slicer_app.process_events()
        chosen = {index.row() for index in table.selectionModel().selectedRows()}
        assert sorted(chosen) == rows, frame
        assert video.current_frame == frame, "selecting does not move the browser"


def test_next_and_previous(panel: Any, slicer_app: SlicerHost) -> None:
    ui, video = panel.review.ui, panel.logic.session.video
    ui.nextDoubtfulButton.click()
    assert video.current_frame == 6
    ui.nextDoubtfulButton.click()
    assert video.current_frame == 6, "there is no later one"
    video.current_frame = 11
    ui.previousDoubtfulButton.click()
    assert video.current_frame == 6
    assert {"D", "Shift+D", "X"} <= set(panel.shortcuts.actions)


def test_marking_the_stretch_and_the_frame(panel: Any, slicer_app: SlicerHost) -> None:
    ui, session = panel.review.ui, panel.logic.session
    assert not ui.stretchGoodButton.enabled
    ui.nextDoubtfulButton.click()
    slicer_app.process_events()
    assert ui.stretchGoodButton.enabled
    ui.stretchGoodButton.click()
    slicer_app.process_events()
    assert list(session.good) == [6, 7, 8]
    assert ui.doubtfulTable.rowCount == 0
    assert ui.reviewLabel.text == "Nothing is doubtful"
    session.video.current_frame = 2
    ui.badFrameButton.click()
    slicer_app.process_events()
    assert ui.doubtfulTable.item(0, 2).text() == "marked as bad"
    assert ui.badFrameButton.checked
    ui.badFrameButton.click()
    slicer_app.process_events()
    assert list(session.bad) == []


def test_a_threshold_changes_the_list_and_is_kept(panel: Any, slicer_app: SlicerHost) -> None:
    ui = panel.review.ui
    ui.positionJumpSpinBox.value = 9.5
    slicer_app.process_events()
    assert ui.doubtfulTable.rowCount == 0
    ui.lowIouSpinBox.value = 0.95
    slicer_app.process_events()
    assert ui.doubtfulTable.item(0, 1).text() == "0 - 11"
    assert panel.logic.session.review.nodes.thresholds.position_jump == 9.5


def select_points(panel: Any, series: Any, row: int) -> None:
    """Report selected points as Slicer's plot view does after a click."""
    import vtk

    widget = slicer.app.layoutManager().plotWidget(0)
    ids, rows, selections = vtk.vtkStringArray(), vtk.vtkIdTypeArray(), vtk.vtkCollection()
    ids.InsertNextValue(series.GetID())
    rows.InsertNextValue(row)
    selections.AddItem(rows)
    widget.plotView().dataSelected.emit(ids, selections)


def test_the_plot_is_linked_both_ways(panel: Any, slicer_app: SlicerHost) -> None:
    ui, session = panel.review.ui, panel.logic.session
    before = slicer.app.layoutManager().layout
    ui.plotComboBox.currentIndex = 1
    ui.plotComboBox.activated.emit(1)
    slicer_app.process_events()
    chart = session.review.nodes.chart("scores")
    view = slicer.app.layoutManager().plotWidget(0).mrmlPlotViewNode()
    assert view.GetPlotChartNodeID() == chart.GetID()
    select_points(panel, chart.GetNthPlotSeriesNode(0), 7)
    slicer_app.process_events()
    assert session.video.current_frame == 7
    session.video.current_frame = 3
    marker = chart.GetNthPlotSeriesNode(chart.GetNumberOfPlotSeriesNodes() - 1)
    assert marker.GetTableNode().GetTable().GetColumnByName("frame").GetTuple1(0) == 3
    ui.plotComboBox.activated.emit(0)
    slicer_app.process_events()
    assert slicer.app.layoutManager().layout == before
    assert ui.plotComboBox.currentIndex == 0


def test_export_and_import_by_the_buttons(
    panel: Any, slicer_app: SlicerHost, tmp_path: Path
) -> None:
    ui = panel.files.ui
    slicer_app.dialogs.chosen.append(tmp_path)
    ui.overlayCheckBox.checked = False
    ui.exportButton.click()
    folder = tmp_path / "clip_SurgSAM2"
    assert sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) == [
        "annotations.coco.json", "frames.csv", "masks",
    ]  # fmt: skip
    assert str(folder) in ui.filesLabel.text
    slicer_app.dialogs.chosen.append(tmp_path / "review.mrb")
    ui.saveSceneButton.click()
    assert stretches(opened(tmp_path / "review.mrb")) == [FAILURE]
    expected = masks_of(panel.logic)
    panel.logic.removeObject(1)
    slicer_app.dialogs.chosen.append(folder)
    ui.importFolderButton.click()
    assert all(map(np.array_equal, masks_of(panel.logic), expected))
    slicer_app.dialogs.chosen.append(tmp_path / "review.mrb")
    ui.importCocoButton.click()
    assert "review.mrb is not a JSON file" in slicer_app.dialogs.texts[-1]


def test_without_a_format_there_is_nothing_to_export(panel: Any) -> None:
    ui = panel.files.ui
    for box in (ui.pngCheckBox, ui.cocoCheckBox, ui.overlayCheckBox, ui.csvCheckBox):
        box.checked = False
    assert not ui.exportButton.enabled


def test_closing_the_scene_empties_the_section(panel: Any, slicer_app: SlicerHost) -> None:
    slicer.mrmlScene.Clear(0)
    slicer_app.process_events(10)
    assert panel.review.ui.doubtfulTable.rowCount == 0
    assert not panel.review.ui.nextDoubtfulButton.enabled
