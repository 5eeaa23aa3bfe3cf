"""Scribbles and lassos: curves that are drawn with the mouse and become prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from surgsam2.mrml import placed_points
from surgsam2.mrml.nodes import observe
from SurgSAM2Lib.prompts.drawn_nodes import make_node, remove_nodes
from SurgSAM2Lib.prompts.kinds import LASSO, NOT_SCRIBBLE, SCRIBBLE, STROKES
from SurgSAM2Lib.prompts.place_mode import is_placing, start_placing

_NAMES = {
    SCRIBBLE: "Scribble on the object",
    NOT_SCRIBBLE: "Scribble outside the object",
    LASSO: "Lasso",
}
_CURVE, _CLOSED_CURVE = "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsClosedCurveNode"
_FEWEST = {SCRIBBLE: 1, NOT_SCRIBBLE: 1, LASSO: 3}


class StrokeMarkups:
    """A curve node for each kind of stroke, in which Slicer's place mode draws.

    Slicer places one point with each click. A drag with the left button adds the points that the
    mouse passes, for which `pressed`, `moved` and `released` must be called before Slicer's own
    code sees the same events. A drag ends the stroke; so does the end of place mode, with which
    Slicer answers a right click or a double click.

    Args:
        scene: the ``vtkMRMLScene``, in which a node is made when it is first needed.
        on_stroke: called with the kind and the corners of a complete stroke, (P, 2) x and y in
            pixels, also outside the frame. It is called during an event of the node.
    """

    def __init__(self, scene: Any, on_stroke: Callable[[str, np.ndarray], None]) -> None:
        self._scene, self._on_stroke = scene, on_stroke
        self._nodes: dict[str, Any] = {}
        self._observed: list[Callable[[], None]] = []
        self._video: Any = None
        self._drawing: Any = None  # the node in which the pressed mouse draws
        self._dragged = False  # whether the mouse was moved since it was pressed
        self._reported = False  # whether the nodes show what was reported already

    def show(self, video: Any) -> None:
        """Remove a stroke that was reported; let strokes lie on this picture from now on.

        Args:
            video: the `VideoNodes` or `PictureNode` to draw on; None for nothing.
        """
        self._video = video
        if self._reported or video is None:
            self.clear()

    def start_placing(self, kind: str) -> None:
        """Make clicks and drags in a view draw a stroke."""
        start_placing(self._node(kind), persistent=True)

    def is_placing(self, kind: str) -> bool:
        """Return whether the next click in a view draws a stroke of this kind."""
        node = self._nodes.get(kind)
        return node is not None and node.GetScene() is self._scene and is_placing(node)

    def pressed(self) -> None:
        """Begin a drag if a stroke is being drawn; the left button went down in the view."""
        kinds = [kind for kind in STROKES if self.is_placing(kind)]
        self._drawing = self._nodes[kinds[0]] if kinds and self._video is not None else None
        self._dragged = False

    def moved(self) -> None:
        """Keep the point at which the mouse was until now; it moves on."""
        if self._drawing is None:
            return
        for i in range(self._drawing.GetNumberOfControlPoints()):
            if self._drawing.GetNthControlPointPositionStatus(i) == self._drawing.PositionPreview:
                ras = [0.0, 0.0, 0.0]
                self._drawing.GetNthControlPointPositionWorld(i, ras)
                self._drawing.SetNthControlPointPositionWorld(i, *ras)  # a placed point from now on
                self._dragged = True

    def released(self) -> None:
        """End the drag; the left button went up, and Slicer will place the last point."""
        self._drawing = None

    def placing_ended(self) -> None:
        """Report a stroke that was drawn with clicks; call it when place mode has ended."""
        for kind in self._nodes:
            self._report(kind)
        self.clear()

    def clear(self) -> None:
        """Remove the placed points of all strokes, but not the one that follows the mouse."""
        self._reported = self._dragged = False
        for node in self._nodes.values():
            for i in reversed(range(node.GetNumberOfControlPoints())):
                if node.GetNthControlPointPositionStatus(i) == node.PositionDefined:
                    node.RemoveNthControlPoint(i)

    def forget(self) -> None:
        """Remove the nodes and stop observing them."""
        remove_nodes(self._scene, self._nodes, self._observed)
        self._video = self._drawing = None

    def _node(self, kind: str) -> Any:
        node = self._nodes.get(kind)
        if node is not None and node.GetScene() is self._scene:
            return node
        class_name = _CLOSED_CURVE if kind == LASSO else _CURVE
        node = make_node(self._scene, class_name, _NAMES[kind], kind)
        node.SetCurveTypeToLinear()
        display = node.GetDisplayNode()
        display.SetGlyphScale(0.5)  # a drag places many points
        display.SetPropertiesLabelVisibility(False)
        event = node.PointPositionDefinedEvent
        self._observed.append(observe(node, event, lambda: self._point_placed(kind)))
        self._nodes[kind] = node
        return node

    def _point_placed(self, kind: str) -> None:
        if self._drawing is None and self._dragged:  # the last point of a drag
            self._dragged = False
            self._report(kind)

    def _report(self, kind: str) -> None:
        node = self._nodes[kind]
        if self._reported or self._video is None or node.GetScene() is not self._scene:
            return
        corners = placed_points(node, self._video)
        if len(corners) >= _FEWEST[kind]:
            self._reported = True
            self._on_stroke(kind, corners)
