"""The prompts of one object on one frame as markups that can be placed, dragged and deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import vtk

from surgsam2.errors import SurgSAM2Error
from surgsam2.mrml import add_points, box_of, placed_points, points_of, set_box
from surgsam2.mrml.nodes import observe
from SurgSAM2Lib.prompts.drawn_nodes import make_node, remove_nodes
from SurgSAM2Lib.prompts.kinds import BOX, NEGATIVE, POSITIVE, STROKES
from SurgSAM2Lib.prompts.place_mode import is_placing, start_placing
from SurgSAM2Lib.prompts.strokes import StrokeMarkups

_NAMES = {POSITIVE: "On the object", NEGATIVE: "Outside the object", BOX: "Box"}
_FIDUCIALS, _ROI = "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsROINode"


class PromptMarkups:
    """Three nodes: the points on the object, the points outside it, and its box.

    The nodes show prompts and report changes by the user. They are not saved with the scene.
    Strokes have nodes of their own, which show nothing once the stroke has become a prompt.

    Args:
        scene: the ``vtkMRMLScene``, in which the nodes are made when they are first needed.
        on_points: called with (P, 3) rows of x, y, label after the user placed, moved or
            removed a point.
        on_box: called with [x0, y0, x1, y1] after the user drew or changed the box.
        on_stroke: called with the kind and the corners, (P, 2) x and y in pixels, after the user
            drew a scribble or a lasso.
        on_refusal: called with a text when a point lies outside the frame.

    Attributes:
        strokes: draws scribbles and lassos.
    """

    def __init__(
        self,
        scene: Any,
        on_points: Callable[[np.ndarray], None],
        on_box: Callable[[list[float]], None],
        on_stroke: Callable[[str, np.ndarray], None],
        on_refusal: Callable[[str], None],
    ) -> None:
        self._scene = scene
        self._on_points, self._on_box, self._on_refusal = on_points, on_box, on_refusal
        self.strokes = StrokeMarkups(scene, on_stroke)
        self._nodes: dict[str, Any] = {}
        self._observed: list[Callable[[], None]] = []
        self._video: Any = None
        self._clicks: np.ndarray = np.zeros((0, 3))
        self._box: np.ndarray | None = None
        self._showing = False

    def node(self, kind: str) -> Any:
        """Return the node of one kind; it is made anew when it is not in the scene."""
        if not self.has(kind):
            self._nodes[kind] = self._make(kind)
        return self._nodes[kind]

    def has(self, kind: str) -> bool:
        """Return whether the node of this kind is in the scene."""
        node = self._nodes.get(kind)
        return node is not None and node.GetScene() is self._scene

    def show(self, video: Any, clicks: np.ndarray, box: np.ndarray | None) -> None:
        """Make the nodes show these prompts and nothing else.

        Args:
            video: the `VideoNodes` or `PictureNode` that the prompts are on; None hides all nodes.
            clicks: (P, 3) rows of x, y, label.
            box: (4,) x0, y0, x1, y1; None for no box.
        """
        self._video, self._clicks, self._box = video, clicks, box
        self.strokes.show(video)
        if video is None or (not len(clicks) and box is None and not self._nodes):
            self._hide()
            return
        self._showing = True
        try:
            for kind, label in ((POSITIVE, 1), (NEGATIVE, 0)):
                wanted = clicks[clicks[:, 2] == label, :2]
                if len(wanted) or kind in self._nodes:
                    _show_points(self.node(kind), video, wanted)
            # a box that is being drawn must not be touched between its corners
            if (box is not None or BOX in self._nodes) and not self.is_placing(BOX):
                _show_box(self.node(BOX), video, box)
        finally:
            self._showing = False

    def start_placing(self, kind: str) -> None:
        """Make the next clicks in a view place points, the two corners of a box, or a stroke.

        Args:
            kind: what to place. Placing points and strokes goes on until it is stopped.
        """
        for other in _NAMES:  # Slicer would go over to placing a node that is made later
            self.node(other)
        self.strokes.clear()
        if kind in STROKES:
            self.strokes.start_placing(kind)
            return
        if kind == BOX:
            self._prepare_box(self.node(kind))
        start_placing(self.node(kind), persistent=kind != BOX)

    def is_placing(self, kind: str) -> bool:
        """Return whether the next click in a view places something of this kind."""
        if kind in STROKES:
            return self.strokes.is_placing(kind)
        return self.has(kind) and is_placing(self._nodes[kind])

    def placing_ended(self) -> None:
        """Report what was drawn, or show the former box again; call it after placing."""
        self.strokes.placing_ended()
        if self.has(BOX) and not self._box_changed():
            self.show(self._video, self._clicks, self._box)

    def forget(self) -> None:
        """Remove the nodes and stop observing them."""
        self.strokes.forget()
        remove_nodes(self._scene, self._nodes, self._observed)
        self._video = None

    def _hide(self) -> None:
        for node in self._nodes.values():
            if node.GetScene() is self._scene:
                node.SetDisplayVisibility(False)

    def _make(self, kind: str) -> Any:
        class_name = _ROI if kind == BOX else _FIDUCIALS
        node = make_node(self._scene, class_name, _NAMES[kind], kind)
        if kind == BOX:
            display = node.GetDisplayNode()
            display.SetFillVisibility(False)
            display.SetPropertiesLabelVisibility(False)
        events = [node.PointPositionDefinedEvent, node.PointEndInteractionEvent]
        if kind != BOX:
            events.append(node.PointRemovedEvent)
        callback = self._box_changed if kind == BOX else self._points_changed
        for event in events:
            self._observed.append(observe(node, event, callback))
        return node

    def _points_changed(self) -> None:
        if self._showing or self._video is None:
            return
        rows = []
        try:
            for kind, label in ((POSITIVE, 1), (NEGATIVE, 0)):
                if kind in self._nodes:
                    points = points_of(self._nodes[kind], self._video)
                    rows.append(np.column_stack([points, np.full(len(points), label)]))
        except SurgSAM2Error as error:
            self._on_refusal(str(error))
            return
        self._on_points(np.concatenate(rows).reshape(-1, 3))

    def _prepare_box(self, node: Any) -> None:
        """Make a box that can be drawn: a complete one takes no points any more."""
        self._showing = True
        try:
            node.RemoveAllControlPoints()
            if self._video is not None:
                node.SetAndObserveObjectToNodeMatrix(_axes_of_picture(self._video))
            node.SetDisplayVisibility(True)
        finally:
            self._showing = False

    def _box_changed(self) -> bool:
        """Report the box when it is complete and new; return whether it was reported."""
        node = self._nodes[BOX]
        if self._showing or self._video is None or not _is_complete(node):
            return False
        try:
            box = box_of(node, self._video)
        except SurgSAM2Error as error:
            self._on_refusal(str(error))
            return True
        if self._box is not None and np.allclose(box, self._box, atol=0.01):
            return False
        self._on_box(box)
        return True


def _show_points(node: Any, video: Any, points: np.ndarray) -> None:
    """Show points, and leave the point that follows the mouse while placing as it is."""
    node.SetDisplayVisibility(True)
    defined = [
        i
        for i in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(i) == node.PositionDefined
    ]
    if len(defined) == len(points) and np.allclose(placed_points(node, video), points, atol=1e-3):
        return
    for i in reversed(defined):
        node.RemoveNthControlPoint(i)
    add_points(node, video, points)


def _show_box(node: Any, video: Any, box: np.ndarray | None) -> None:
    if box is None:
        if node.GetNumberOfDefinedControlPoints():
            node.RemoveAllControlPoints()
        node.SetDisplayVisibility(bool(node.GetNumberOfControlPoints()))
        return
    node.SetDisplayVisibility(True)
    set_box(node, video, box.tolist())


def _is_complete(box: Any) -> bool:
    """Return whether both corners of a box are placed, and none follows the mouse."""
    return bool(
        box.GetNumberOfControlPoints() == 1
        and box.GetNumberOfDefinedControlPoints() == 1
        and min(box.GetSize()[:2]) > 0
    )


def _axes_of_picture(video: Any) -> Any:
    """Return a ``vtkMatrix4x4`` that turns a box so that its sides are those of the picture."""
    origin = np.array(video.ras_of(0, 0))
    right, down = np.array(video.ras_of(1, 0)) - origin, np.array(video.ras_of(0, 1)) - origin
    axes = [right / np.linalg.norm(right), down / np.linalg.norm(down)]
    matrix = vtk.vtkMatrix4x4()
    for column, axis in enumerate((*axes, np.cross(*axes))):
        for row in range(3):
            matrix.SetElement(row, column, axis[row])
    return matrix
