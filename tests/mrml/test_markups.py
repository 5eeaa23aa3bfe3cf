"""Markups as prompts, and prompts as markups."""

import numpy as np
import pytest
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st

from surgsam2.errors import InputError, PromptError
from surgsam2.mrml import add_points, box_of, open_video_nodes, points_of, set_box
from tests.mrml.test_video_nodes import a_sequence, geometries


@pytest.fixture
def fiducials(a_scene):
    return a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")


@pytest.fixture
def a_box(a_scene):
    return a_scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")


def test_points_there_and_back(a_video, fiducials):
    points = [[0, 0], [63.4, 47.4], [-0.5, 12.25]]
    add_points(fiducials, a_video, points)
    assert points_of(fiducials, a_video) == pytest.approx(np.array(points))
    position = [0, 0, 0]
    fiducials.GetNthControlPointPosition(1, position)
    assert position == pytest.approx([-63.4, -47.4, 0])


def test_no_points(a_video, fiducials):
    add_points(fiducials, a_video, [])
    assert points_of(fiducials, a_video).shape == (0, 2)


def test_a_point_under_the_mouse_does_not_count(a_video, fiducials):
    add_points(fiducials, a_video, [[5, 6]])
    fiducials.AddControlPoint(vtk.vtkVector3d(-1, -1, 0))
    fiducials.SetNthControlPointPositionMissing(1)
    assert points_of(fiducials, a_video) == pytest.approx(np.array([[5, 6]]))


@pytest.mark.parametrize("point", [(-0.6, 5), (63.5, 5), (5, 47.5), (5, -1), (float("nan"), 5)])
def test_points_outside_the_frame(a_video, fiducials, point):
    with pytest.raises(PromptError, match="outside the 64 x 48 frame; allowed are -0"):
        add_points(fiducials, a_video, [[5, 5], point])
    assert fiducials.GetNumberOfControlPoints() == 0
    fiducials.AddControlPoint(vtk.vtkVector3d(*a_video.ras_of(*point)), "tip")
    with pytest.raises(PromptError, match=r"point 'tip' at \[.* is outside the 64 x 48"):
        points_of(fiducials, a_video)


@settings(max_examples=30)
@given(
    matrix=geometries,
    x=st.tuples(st.floats(-0.5, 31), st.floats(32, 63.5)),
    y=st.tuples(st.floats(-0.5, 23), st.floats(24, 47.5)),
)
def test_boxes_there_and_back(matrix, x, y):
    import slicer

    scene = slicer.vtkMRMLScene()
    video = open_video_nodes(a_sequence(scene, np.zeros((1, 48, 64, 3), np.uint8), matrix))
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    box = [x[0], y[0], x[1], y[1]]
    set_box(roi, video, box)
    assert box_of(roi, video) == pytest.approx(box, abs=1e-2)
    assert min(roi.GetSize()) > 0


def test_a_box_that_was_moved_and_one_that_was_turned(a_video, a_box):
    set_box(a_box, a_video, [10, 10, 30, 20])
    a_box.SetCenter(-30, -25, 0)
    assert box_of(a_box, a_video) == pytest.approx([20, 20, 40, 30])
    turn = vtk.vtkMatrix4x4()  # a quarter turn
    for k, row in enumerate([[0, -1, 0, -30], [1, 0, 0, -25]]):
        for column, value in enumerate(row):
            turn.SetElement(k, column, value)
    a_box.SetAndObserveObjectToNodeMatrix(turn)
    assert box_of(a_box, a_video) == pytest.approx([25, 15, 35, 35])


def test_a_box_over_the_border_is_cut(a_video, a_box):
    set_box(a_box, a_video, [0, 0, 20, 20])
    a_box.SetCenter(0, 0, 0)
    assert box_of(a_box, a_video) == pytest.approx([-0.5, -0.5, 10, 10])
    a_box.SetCenter(50, 0, 0)
    with pytest.raises(PromptError, match="covers nothing of the 64 x 48 frame"):
        box_of(a_box, a_video)


def test_a_box_under_a_transform(a_video, a_box, a_scene):
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100)
    transform.SetMatrixTransformToParent(matrix)
    a_box.SetAndObserveTransformNodeID(transform.GetID())
    set_box(a_box, a_video, [10, 10, 30, 20])
    assert box_of(a_box, a_video) == pytest.approx([10, 10, 30, 20])


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([10, 10, 10, 20], "is empty or inverted"),
        ([30, 10, 10, 20], "is empty or inverted"),
        ([10, 10, 64, 20], "leaves the 64 x 48 frame"),
        ([float("nan")] * 4, "is empty or inverted"),
    ],
)
def test_impossible_boxes(a_video, a_box, box, message):
    with pytest.raises(PromptError, match=message):
        set_box(a_box, a_video, box)
    assert a_box.GetNumberOfControlPoints() == 0


def test_a_box_that_is_not_placed(a_video, a_box):
    with pytest.raises(PromptError, match="not placed yet"):
        box_of(a_box, a_video)


def test_wrong_and_deleted_nodes(a_video, fiducials, a_box):
    with pytest.raises(InputError, match="must be a vtkMRMLMarkupsFiducialNode, got the vtkMRML"):
        points_of(a_box, a_video)
    with pytest.raises(InputError, match="must be a vtkMRMLMarkupsROINode"):
        set_box(fiducials, a_video, [1, 1, 5, 5])
    a_video.scene.RemoveNode(fiducials)
    with pytest.raises(InputError, match="list of points 'points' was deleted"):
        add_points(fiducials, a_video, [[1, 1]])
    with pytest.raises(InputError, match="no box is chosen"):
        box_of(None, a_video)
