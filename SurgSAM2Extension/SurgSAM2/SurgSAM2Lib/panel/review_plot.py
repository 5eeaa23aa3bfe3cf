"""The chart of the review, shown in a plot view below the slice view with the video."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

LAYOUT = 75210
"""Identifier of the layout; those of Slicer itself are below 1000."""
VIEW = "SurgSAM2Review"
"""Singleton tag of the plot view, which keeps it apart from the user's own plot views."""
# The heights of the two views are in the ratio of their splitSize.
LAYOUT_XML = f"""
<layout type="vertical" split="true">
 <item splitSize="650">
  <view class="vtkMRMLSliceNode" singletontag="Red">
   <property name="orientation" action="default">Axial</property>
   <property name="viewlabel" action="default">R</property>
   <property name="viewcolor" action="default">#F34A33</property>
  </view>
 </item>
 <item splitSize="350">
  <view class="vtkMRMLPlotViewNode" singletontag="{VIEW}">
   <property name="viewlabel" action="default">P</property>
  </view>
 </item>
</layout>
"""


class ReviewPlot:
    """Shows a chart, and reports the points that the user clicks.

    Args:
        on_points: called with a list of (MRML id of the plot series node, row of its table from 0)
            after each selection.
    """

    def __init__(self, on_points: Callable[[list[tuple[str, int]]], None]) -> None:
        self._on_points = on_points
        self._connected: Any = None
        self._layout_before: int | None = None

    @property
    def shown(self) -> bool:
        """Whether Slicer shows the layout that contains the plot."""
        manager = slicer.app.layoutManager()
        return manager is not None and manager.layout == LAYOUT

    def show(self, chart: Any) -> None:
        """Show a ``vtkMRMLPlotChartNode`` below the video; None restores the former layout."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        if chart is None:
            if self.shown and self._layout_before is not None:
                manager.setLayout(self._layout_before)
            return
        node = manager.layoutLogic().GetLayoutNode()
        if not node.IsLayoutDescription(LAYOUT):
            node.AddLayoutDescription(LAYOUT, LAYOUT_XML)
        if not self.shown:
            self._layout_before = manager.layout
            manager.setLayout(LAYOUT)
        widget = _plot_widget(manager)
        if widget is not None:
            widget.mrmlPlotViewNode().SetPlotChartNodeID(chart.GetID())
            self._connect(widget.plotView())

    def forget(self) -> None:
        """Stop reporting the points that the user clicks; the chart stays."""
        self._connect(None)

    def _connect(self, view: Any) -> None:
        signal = "dataSelected(vtkStringArray*,vtkCollection*)"
        if view is self._connected:
            return
        if self._connected is not None:
            self._connected.disconnect(signal, self._report_points)
        if view is not None:
            view.connect(signal, self._report_points)
        self._connected = view

    def _report_points(self, series_ids: Any, selections: Any) -> None:
        """Report the first selected row of each series.

        Args:
            series_ids: ``vtkStringArray`` of the MRML ids of the series.
            selections: ``vtkCollection`` of one id array per series with the selected rows.
        """
        points = []
        for k in range(series_ids.GetNumberOfValues()):
            rows = selections.GetItemAsObject(k)
            if rows.GetNumberOfValues():
                points.append((str(series_ids.GetValue(k)), int(rows.GetValue(0))))
        if points:  # the chart must not change during its own event
            qt.QTimer.singleShot(0, lambda: self._on_points(points))


def _plot_widget(manager: Any) -> Any:
    widgets = (manager.plotWidget(k) for k in range(manager.plotViewCount))
    return next((w for w in widgets if w.mrmlPlotViewNode().GetSingletonTag() == VIEW), None)
