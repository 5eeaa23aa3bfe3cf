"""Measurements in the scene: tables, and charts of them for Slicer's plot view.

The video's sequence browser refers to the nodes, so they are saved, found again and merged
with their video.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from surgsam2.errors import InputError
from surgsam2.mrml.mask_nodes import MaskNodes
from surgsam2.mrml.review_series import (
    CHARTS,
    DOUBTFUL,
    FRAME,
    Chart,
    SeriesStyle,
    column_name,
    series_of,
)
from surgsam2.results.review import QUANTITIES, Measurements, Stretch
from surgsam2.results.thresholds import Thresholds
from surgsam2.storage.json_text import parse_json

THRESHOLDS_ATTRIBUTE = "SurgSAM2.thresholds"
SERIES_ATTRIBUTE = "SurgSAM2.series"
_Node = Any


class ReviewNodes:
    """The review of one video, in its scene. Nodes are made when there is something to show.

    - The measurements are a table with one row per frame. For each object its columns, whose
      names end in the object's id, are presence, predicted IoU, area, centroid, and the
      doubtful values once more.
    - The doubtful stretches are a table with one row each.
    - Two charts show the scores and the areas in the objects' colours, with doubtful frames as
      crosses and a line at the frame that is shown.

    Args:
        masks: the masks of the video.
    """

    def __init__(self, masks: MaskNodes) -> None:
        self._masks = masks

    # reading

    @property
    def complete(self) -> bool:
        """Whether all nodes that `save` made are still there."""
        names = ("measurements", "doubtful", "marker", *(chart.name for chart in CHARTS))
        nodes = {name: self._browser.GetNodeReference(_role(name)) for name in names}
        wanted = {chart.name: series_of(chart, self._masks.objects) for chart in CHARTS}
        return None not in nodes.values() and all(
            nodes[name].GetNumberOfPlotSeriesNodes() >= len(series)
            for name, series in wanted.items()
        )

    @property
    def table(self) -> _Node | None:
        """The ``vtkMRMLTableNode`` of the measurements; None before the first `save`."""
        return self._browser.GetNodeReference(_role("measurements"))

    @property
    def doubtful_table(self) -> _Node | None:
        """The ``vtkMRMLTableNode`` of the doubtful stretches."""
        return self._browser.GetNodeReference(_role("doubtful"))

    def chart(self, name: str) -> _Node | None:
        """Return the ``vtkMRMLPlotChartNode`` "scores" or "areas"; None before the first `save`."""
        return self._browser.GetNodeReference(_role(name))

    def load(self) -> Measurements:
        """Return the measurements in the scene; nothing is known when there are none.

        A table that someone changed to another length is ignored.
        """
        frames = self._masks.video.frame_count
        measurements = Measurements(frames)
        node = self.table
        if node is None or node.GetNumberOfRows() != frames:
            return measurements
        for style in self._masks.objects:
            for quantity in QUANTITIES:
                column = node.GetTable().GetColumnByName(column_name(quantity, style.id))
                if isinstance(column, vtk.vtkDataArray):
                    measurements.put(style.id, quantity, vtk_to_numpy(column))
        return measurements

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds in the scene; the defaults when there are none."""
        text = self._masks.sequence.GetAttribute(THRESHOLDS_ATTRIBUTE) or ""
        try:
            values = [word.partition("=") for word in text.split()]
            return Thresholds(**{name: parse_json(value) for name, _, value in values})
        except (ValueError, TypeError):
            return Thresholds()

    @thresholds.setter
    def thresholds(self, thresholds: Thresholds) -> None:
        # JSON has colons, which separate attributes in a scene file
        text = " ".join(f"{name}={value}" for name, value in asdict(thresholds).items())
        self._masks.sequence.SetAttribute(THRESHOLDS_ATTRIBUTE, text)

    def frame_of(self, series_id: str, row: int) -> int | None:
        """Return the frame of a point of a plot; None for a point that stands for no frame.

        Args:
            series_id: MRML id of the plot series that the point belongs to.
            row: row of the point in the series' table.
        """
        series = self._scene.GetNodeByID(series_id)
        if series is None or self.table is None or series.GetTableNode() is not self.table:
            return None
        return row if 0 <= row < self._masks.video.frame_count else None

    # writing

    def save(self, measurements: Measurements, stretches: Sequence[Stretch]) -> None:
        """Write measurements and doubtful stretches into tables and charts.

        Raises:
            InputError: the measurements belong to a video of another length.
        """
        frames = self._masks.video.frame_count
        if measurements.frame_count != frames:
            raise InputError(
                f"the measurements are of {measurements.frame_count} frames, the video has {frames}"
            )
        self._save_measurements(measurements, stretches)
        self._save_stretches(stretches)
        for chart in CHARTS:
            self._save_chart(chart)
        self.mark(self._masks.video.current_frame)

    def mark(self, frame: int) -> None:
        """Move the line in the charts to a frame. Nothing happens before the first `save`."""
        node = self._browser.GetNodeReference(_role("marker"))
        column = None if node is None else node.GetTable().GetColumnByName(FRAME)
        if isinstance(column, vtk.vtkDataArray):  # otherwise a user has changed the table
            column.FillComponent(0, frame)
            node.GetTable().Modified()

    def _save_measurements(self, measurements: Measurements, stretches: Sequence[Stretch]) -> None:
        table, titles = vtk.vtkTable(), {}
        tops = {chart.name: 1.0 for chart in CHARTS}
        _add_column(table, FRAME, np.arange(measurements.frame_count, dtype=np.int32))
        for style in self._masks.objects:
            values = {name: measurements.of(style.id, name) for name in QUANTITIES}
            here = [s for s in stretches if s.object_id in (None, style.id)]
            for chart in CHARTS:
                values[f"{DOUBTFUL} {chart.doubtful}"] = _only_in(here, values, chart.doubtful)
                if not chart.fraction:
                    top = np.nan_to_num(values[chart.doubtful]).max(initial=0)
                    tops[chart.name] = max(tops[chart.name], float(top))
            for name, numbers in values.items():
                _add_column(table, column_name(name, style.id), numbers)
                titles[column_name(name, style.id)] = f"{style.name}: {name}"
        node = self._node("measurements", "vtkMRMLTableNode")
        node.SetAndObserveTable(table)
        for column, title in titles.items():
            node.SetColumnTitle(column, title)
        self._save_marker(tops)

    def _save_stretches(self, stretches: Sequence[Stretch]) -> None:
        names = {style.id: style.name for style in self._masks.objects}
        rows: dict[str, Callable[[Stretch], Any]] = {
            "object id": lambda s: s.object_id or 0,
            "object": lambda s: names.get(s.object_id or 0, "all"),
            "first frame": lambda s: s.first,
            "last frame": lambda s: s.last,
            "reason": lambda s: ", ".join(reason.value for reason in s.reasons),
        }
        table = vtk.vtkTable()
        for name, value in rows.items():
            words = [value(stretch) for stretch in stretches]
            if name in ("object", "reason"):
                _add_texts(table, name, words)
            else:
                _add_column(table, name, np.array(words, np.int32))
        self._node("doubtful", "vtkMRMLTableNode").SetAndObserveTable(table)

    def _save_marker(self, tops: dict[str, float]) -> None:
        """Store two points per chart, the ends of the line at the shown frame."""
        table = vtk.vtkTable()
        _add_column(table, FRAME, np.zeros(2, np.int32))
        for name, top in tops.items():
            _add_column(table, name, np.array([0, top], np.float32))
        self._node("marker", "vtkMRMLTableNode").SetAndObserveTable(table)

    def _save_chart(self, chart: Chart) -> None:
        node = self._node(chart.name, "vtkMRMLPlotChartNode")
        node.SetTitle(chart.title)
        node.SetXAxisTitle(FRAME)
        node.SetYAxisTitle(chart.axis)
        if chart.fraction:
            node.SetYAxisRangeAuto(False)
            node.SetYAxisRange(0.0, 1.02)
        there = {}
        for k in range(node.GetNumberOfPlotSeriesNodes()):
            series = node.GetNthPlotSeriesNode(k)
            if series is not None:
                there[series.GetAttribute(SERIES_ATTRIBUTE)] = series
        wanted = series_of(chart, self._masks.objects)
        if list(there) != [style.key for style in wanted]:
            node.RemoveAllPlotSeriesNodeIDs()
        for style in wanted:
            series = there.pop(style.key, None) or self._new_series(style)
            self._apply(style, series)
            if not node.HasPlotSeriesNodeID(series.GetID()):
                node.AddAndObservePlotSeriesNodeID(series.GetID())
        for series in there.values():  # of objects that were removed
            self._scene.RemoveNode(series)

    def _new_series(self, style: SeriesStyle) -> _Node:
        series = self._scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", style.name)
        series.SetAttribute(SERIES_ATTRIBUTE, style.key)
        return series

    def _apply(self, style: SeriesStyle, series: _Node) -> None:
        table = self._browser.GetNodeReference(_role(style.table))
        with slicer.util.NodeModify(series):
            series.SetName(style.name)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetPlotType(series.PlotTypeScatter)
            series.SetXColumnName(FRAME)
            series.SetYColumnName(style.column)
            series.SetColor(*style.rgb)
            series.SetLineWidth(style.width)
            series.SetLineStyle(series.GetLineStyleFromString(style.line))
            series.SetMarkerStyle(series.GetMarkerStyleFromString(style.marker))
            series.SetMarkerSize(style.marker_size)

    # inside

    def _node(self, name: str, class_name: str) -> _Node:
        """Return the browser's node for this purpose; it is made when it is not there."""
        node = self._browser.GetNodeReference(_role(name))
        if node is None:
            node = self._scene.AddNewNodeByClass(class_name, f"{self._masks.video.name} {name}")
            self._browser.SetNodeReferenceID(_role(name), node.GetID())
        return node

    @property
    def _browser(self) -> _Node:
        return self._masks.video.browser

    @property
    def _scene(self) -> _Node:
        return self._masks.video.scene


def _role(name: str) -> str:
    """Return the name of the browser's reference to one of the nodes."""
    return f"SurgSAM2.review.{name}"


def _only_in(
    stretches: Sequence[Stretch], values: dict[str, np.ndarray], quantity: str
) -> np.ndarray:
    """Return a quantity on doubtful frames, (frames,) float32.

    It is 0 where the quantity has no value, and NaN on other frames.
    """
    doubtful = np.zeros(len(values[quantity]), bool)
    for stretch in stretches:
        doubtful[stretch.first : stretch.last + 1] = True
    shown = doubtful & np.isfinite(values["area"])
    return np.where(shown, np.nan_to_num(values[quantity]), np.nan).astype(np.float32)


def _add_column(table: Any, name: str, values: np.ndarray) -> None:
    array = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
    array.SetName(name)
    table.AddColumn(array)


def _add_texts(table: Any, name: str, words: Sequence[str]) -> None:
    array = vtk.vtkStringArray()
    array.SetName(name)
    for word in words:
        array.InsertNextValue(word)
    table.AddColumn(array)
