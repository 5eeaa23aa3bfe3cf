"""Converts markups to prompts, and prompts to markups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import slicer
import vtk

from surgsam2.errors import PromptError
from surgsam2.mrml.nodes import checked_node
from surgsam2.mrml.video_nodes import VideoNodes

POINTS_CLASS = "vtkMRMLMarkupsFiducialNode"
BOX_CLASS = "vtkMRMLMarkupsROINode"


def points_of(node: Any, video: VideoNodes) -> np.ndarray:
    """Return the points of a markups node that are placed, (P, 2) float64 x and y in pixels.

    A point that still follows the mouse does not count. Transforms of the node and of the
    video are applied.

    Raises:
        PromptError: a point lies outside the frame.
        InputError: the node is no fiducial node, or it was deleted.
    """
    checked_node(node, POINTS_CLASS, "list of points")
    points = []
    for i in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(i) != node.PositionDefined:
            continue
        ras = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(i, ras)
        x, y = video.pixel_of(ras)
        _check_inside(x, y, video, f"point {node.GetNthControlPointLabel(i)!r}")
        points.append((x, y))
    return np.array(points, np.float64).reshape(-1, 2)


def placed_points(node: Any, video: VideoNodes) -> np.ndarray:
    """Return the placed points of any markups node, (P, 2) x and y in pixels.

    They may lie outside the frame. A point that still follows the mouse does not count.
    """
    points = []
    for i in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(i) == node.PositionDefined:
            ras = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(i, ras)
            points.append(video.pixel_of(ras))
    return np.array(points, np.float64).reshape(-1, 2)


def add_points(node: Any, video: VideoNodes, points: Any) -> None:
    """Add points to a fiducial node; if one lies outside the frame, none is added.

    Args:
        node: a ``vtkMRMLMarkupsFiducialNode``.
        video: the video that the points lie on.
        points: (P, 2) x and y in pixels.

    Raises:
        PromptError: a point lies outside the frame.
        InputError: the node is no fiducial node, or it was deleted.
    """
    checked_node(node, POINTS_CLASS, "list of points")
    rows = np.asarray(points, np.float64).reshape(-1, 2).tolist()
    for x, y in rows:
        _check_inside(x, y, video, "the point")
    for x, y in rows:
        node.AddControlPointWorld(vtk.vtkVector3d(*video.ras_of(x, y)))


def box_of(node: Any, video: VideoNodes) -> list[float]:
    """Return what a region of interest covers of the frame, ``[x0, y0, x1, y1]`` in pixels.

    For a region that is rotated in the picture, this is the box around it.

    Raises:
        PromptError: the region is not placed yet, or covers nothing of the frame.
        InputError: the node is no ROI node, or it was deleted.
    """
    checked_node(node, BOX_CLASS, "box")
    if not node.GetNumberOfDefinedControlPoints():
        raise PromptError("the box is not placed yet; draw it in the picture")
    half = [size / 2 for size in node.GetSize()]
    to_world = vtk.vtkMatrix4x4()
    to_world.DeepCopy(node.GetObjectToWorldMatrix())
    corners = [
        video.pixel_of(to_world.MultiplyPoint((*np.multiply(half, signs), 1))[:3])
        for signs in product((-1, 1), repeat=3)
    ]
    x0, y0 = np.min(corners, axis=0)
    x1, y1 = np.max(corners, axis=0)
    right, bottom = video.width - 0.5, video.height - 0.5
    box = [max(x0, -0.5), max(y0, -0.5), min(x1, right), min(y1, bottom)]
    if not (box[0] < box[2] and box[1] < box[3]):
        raise PromptError(
            f"the box [{x0:g}, {y0:g}, {x1:g}, {y1:g}] covers nothing of the "
            f"{video.width} x {video.height} frame; draw it in the picture"
        )
    return [float(value) for value in box]


def set_box(node: Any, video: VideoNodes, box: Sequence[float]) -> None:
    """Make a region of interest cover a box ``[x0, y0, x1, y1]`` in pixels.

    Raises:
        PromptError: the box is empty or leaves the frame.
        InputError: the node is no ROI node, or it was deleted.
    """
    checked_node(node, BOX_CLASS, "box")
    x0, y0, x1, y1 = map(float, box)
    if not (x0 < x1 and y0 < y1):
        raise PromptError(
            f"the box [{x0:g}, {y0:g}, {x1:g}, {y1:g}] is empty or inverted; it is "
            "[x0, y0, x1, y1] with x0 < x1 and y0 < y1"
        )
    right, bottom = video.width - 0.5, video.height - 0.5
    if not (x0 >= -0.5 and y0 >= -0.5 and x1 <= right and y1 <= bottom):
        raise PromptError(
            f"the box [{x0:g}, {y0:g}, {x1:g}, {y1:g}] leaves the {video.width} x "
            f"{video.height} frame; allowed are x from -0.5 to {right:g} and y from -0.5 to "
            f"{bottom:g}"
        )
    centre = np.array(video.ras_of((x0 + x1) / 2, (y0 + y1) / 2))
    # half the box along each of the picture's axes; they need not be those of space
    right_half = np.array(video.ras_of(x1, (y0 + y1) / 2)) - centre
    down_half = np.array(video.ras_of((x0 + x1) / 2, y1)) - centre
    width, height = 2 * np.linalg.norm(right_half), 2 * np.linalg.norm(down_half)
    axes = [right_half * 2 / width, down_half * 2 / height]
    to_world = vtk.vtkMatrix4x4()
    for column, axis in enumerate((*axes, np.cross(*axes), centre)):
        for row in range(3):
            to_world.SetElement(row, column, axis[row])
    to_node = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(
        None, node.GetParentTransformNode(), to_node
    )
    vtk.vtkMatrix4x4.Multiply4x4(to_node, to_world, to_node)
    if not node.GetNumberOfControlPoints():
        node.AddControlPoint(vtk.vtkVector3d(0, 0, 0))
    node.SetAndObserveObjectToNodeMatrix(to_node)
    node.SetSize(width, height, 1)  # flat boxes cannot be handled with the mouse


def _check_inside(x: float, y: float, video: VideoNodes, what: str) -> None:
    right, bottom = video.width - 0.5, video.height - 0.5
    if not (-0.5 <= x < right and -0.5 <= y < bottom):
        raise PromptError(
            f"{what} at [{x:g}, {y:g}] is outside the {video.width} x {video.height} frame; "
            f"allowed are -0.5 <= x < {right:g} and -0.5 <= y < {bottom:g}"
        )
