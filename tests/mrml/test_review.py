"""Measurements, doubtful stretches and charts as nodes of a scene."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from surgsam2.errors import InputError
from surgsam2.mrml import ReviewNodes, load_scene, open_mask_nodes, save_scene
from surgsam2.results.review import QUANTITIES, Measurements, Reason, Stretch
from surgsam2.results.thresholds import Thresholds

STRETCHES = [Stretch(1, 1, 2, (Reason.LOW_IOU, Reason.AREA)), Stretch(None, 4, 4, (Reason.BAD,))]


@pytest.fixture
def measured(some_masks, rectangle):
    """Return measurements of the liver on every frame, and of the grasper on the first three."""
    measurements = Measurements(some_masks.video.frame_count)
    for frame in range(measurements.frame_count):
        measurements.measure(frame, 1, rectangle(0, 0, 20 + frame, 10))
        measurements.score(frame, 1, 0.9, 0.8 - frame / 10)
        if frame < 3:
            measurements.measure(frame, 7, rectangle(30, 5, 40, 15))
    return measurements


def same(a, b, object_ids):
    return all(
        np.array_equal(a.of(i, name), b.of(i, name), equal_nan=True)
        for i in object_ids
        for name in QUANTITIES
    )


def shown_values(series):
    """Return what Slicer's plot view shows of a series: (x, y) where y is a number."""
    table = series.GetTableNode().GetTable()
    x, y = (table.GetColumnByName(n) for n in (series.GetXColumnName(), series.GetYColumnName()))
    points = [(x.GetTuple1(k), y.GetTuple1(k)) for k in range(table.GetNumberOfRows())]
    return [(a, round(b, 4)) for a, b in points if np.isfinite(b)]


def series_named(chart, name):
    nodes = [chart.GetNthPlotSeriesNode(k) for k in range(chart.GetNumberOfPlotSeriesNodes())]
    return next(node for node in nodes if node.GetName() == name)


def test_nothing_is_in_the_scene_before_there_is_something_to_show(some_masks, contents):
    before = contents(some_masks.video.scene)
    review = ReviewNodes(some_masks)
    review.mark(3)
    assert review.load().object_ids == ()
    assert review.table is None
    assert review.chart("scores") is None
    assert contents(some_masks.video.scene) == before


def test_charts_have_the_objects_colours_and_cross_what_is_doubtful(some_masks, measured):
    review = ReviewNodes(some_masks)
    review.save(measured, STRETCHES)
    scores = review.chart("scores")
    liver = series_named(scores, "liver: predicted IoU")
    assert np.allclose(liver.GetColor(), np.array([0xE8, 0xC4, 0x68]) / 255)
    assert shown_values(liver) == [(k, round(0.8 - k / 10, 4)) for k in range(6)]
    assert shown_values(series_named(scores, "liver: presence"))[0] == (0, 0.9)
    crosses = series_named(scores, "liver: doubtful")
    assert [x for x, _ in shown_values(crosses)] == [1, 2, 4]
    assert crosses.GetMarkerStyle() == crosses.MarkerStyleCross
    assert crosses.GetLineStyle() == crosses.LineStyleNone
    areas = review.chart("areas")
    assert shown_values(series_named(areas, "grasper: area")) == [(0, 100), (1, 100), (2, 100)]
    assert review.table.GetColumnTitle("area 7") == "grasper: area"


def test_the_line_follows_the_frame(some_masks, measured):
    review = ReviewNodes(some_masks)
    review.save(measured, [])
    review.mark(4)
    line = series_named(review.chart("areas"), "shown frame")
    assert shown_values(line) == [(4, 0), (4, 250)]


def test_a_point_of_the_plot_stands_for_a_frame(some_masks, measured):
    review = ReviewNodes(some_masks)
    review.save(measured, [])
    chart = review.chart("scores")
    assert review.frame_of(series_named(chart, "liver: presence").GetID(), 3) == 3
    assert review.frame_of(series_named(chart, "shown frame").GetID(), 1) is None
    assert review.frame_of("nothing", 1) is None


def test_all_of_it_survives_saving_and_loading(some_masks, measured, tmp_path):
    review = ReviewNodes(some_masks)
    review.thresholds = Thresholds(low_iou=0.25, join=7)
    review.save(measured, STRETCHES)
    save_scene(some_masks.video.scene, tmp_path / "a.mrb")
    scene = slicer.vtkMRMLScene()
    load_scene(scene, tmp_path / "a.mrb")
    other = ReviewNodes(open_mask_nodes(scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")))
    assert same(other.load(), measured, (1, 7))
    assert other.thresholds == Thresholds(low_iou=0.25, join=7)
    rows = other.doubtful_table.GetTable()
    texts = [rows.GetValueByName(k, "reason").ToString() for k in range(rows.GetNumberOfRows())]
    assert texts == ["low predicted IoU, area jumps", "marked as bad"]
    assert rows.GetValueByName(0, "last frame").ToInt() == 2
    crosses = series_named(other.chart("scores"), "liver: doubtful")
    assert [x for x, _ in shown_values(crosses)] == [1, 2, 4]
    count = scene.GetNumberOfNodes()
    other.save(other.load(), STRETCHES)
    assert scene.GetNumberOfNodes() == count, "the nodes are found again, not made twice"


def test_saving_again_makes_no_more_nodes_and_follows_objects(some_masks, measured):
    review = ReviewNodes(some_masks)
    review.save(measured, STRETCHES)
    count = some_masks.video.scene.GetNumberOfNodes()
    review.save(measured, [])
    assert some_masks.video.scene.GetNumberOfNodes() == count
    assert shown_values(series_named(review.chart("scores"), "liver: doubtful")) == []
    some_masks.remove_object(7)
    review.save(measured, [])
    names = review.chart("areas").GetNumberOfPlotSeriesNodes()
    assert names == 3, "line, crosses and marker of one object"
    assert some_masks.video.scene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode") == 3 + 4


def test_a_table_that_a_user_changed_is_no_harm(some_masks, measured):
    review = ReviewNodes(some_masks)
    review.save(measured, [])
    browser = some_masks.video.browser
    browser.GetNodeReference("SurgSAM2.review.marker").GetTable().RemoveColumnByName("frame")
    review.mark(3)
    assert review.complete
    some_masks.video.scene.RemoveNode(review.chart("areas").GetNthPlotSeriesNode(0))
    assert not review.complete


def test_a_removed_video_takes_its_review_along(some_masks, measured):
    scene = some_masks.video.scene
    ReviewNodes(some_masks).save(measured, STRETCHES)
    some_masks.video.remove()
    for kind in ("Table", "PlotChart", "PlotSeries", "SequenceBrowser"):
        assert not scene.GetNumberOfNodesByClass(f"vtkMRML{kind}Node"), kind


def test_measurements_of_another_video_are_refused(some_masks):
    with pytest.raises(InputError, match="5 frames, the video has 6"):
        ReviewNodes(some_masks).save(Measurements(5), [])


def test_a_table_that_was_cut_is_not_taken(some_masks, measured):
    review = ReviewNodes(some_masks)
    review.save(measured, [])
    review.table.RemoveRow(0)
    assert not review.load().knows(0, 1)
