"""The two charts of a review, and what each line in them looks like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from surgsam2.mrml.styles import ObjectStyle
from surgsam2.storage.palette import rgb_of

FRAME = "frame"
"""Column with the frame's number, the charts' x axis."""
DOUBTFUL = "doubtful"
"""Columns that begin with this hold the values of doubtful frames only."""
DOUBTFUL_COLOR = (0.85, 0.1, 0.1)
MARKER_COLOR = (0.45, 0.45, 0.45)


@dataclass(frozen=True)
class Chart:
    """One chart: which measurements it draws."""

    name: str
    title: str
    axis: str
    """Title of the y axis."""
    lines: dict[str, str]
    """Quantity to line style, in Slicer's words."""
    doubtful: str
    """The quantity at whose height doubtful frames are crossed."""
    fraction: bool
    """Whether values go from 0 to 1."""


CHARTS = (
    Chart(
        "scores", "Presence (dashed) and predicted IoU", "0 to 1",
        {"iou": "solid", "presence": "dash"}, "iou", True,
    ),
    Chart("areas", "Area", "pixels", {"area": "solid"}, "area", False),
)  # fmt: skip

_WORDS = {"iou": "predicted IoU"}


@dataclass(frozen=True)
class SeriesStyle:
    """What Slicer's plot series node is told."""

    key: str
    """Tells the series of a chart apart; stays when objects are renamed."""
    name: str
    """In the legend."""
    table: str
    """``measurements`` or ``marker``."""
    column: str
    rgb: tuple[float, float, float]
    """Red, green and blue, each 0 to 1."""
    line: str = "none"
    marker: str = "none"
    width: float = 2.0
    """Width of the line in pixels."""
    marker_size: float = 9.0
    """Pixels."""


def column_name(quantity: str, object_id: int) -> str:
    """Return the name of a column of the measurements; it stays when an object is renamed."""
    return f"{quantity} {object_id}"


def series_of(chart: Chart, objects: Iterable[ObjectStyle]) -> list[SeriesStyle]:
    """Return all lines of a chart: the objects', their doubtful frames', the shown frame's."""
    lines, crosses = [], []
    for item in objects:
        red, green, blue = (value / 255 for value in rgb_of(item.color))
        for quantity, line in chart.lines.items():
            column = column_name(quantity, item.id)
            name = f"{item.name}: {_WORDS.get(quantity, quantity)}"
            lines.append(
                SeriesStyle(column, name, "measurements", column, (red, green, blue), line)
            )
        column = column_name(f"{DOUBTFUL} {chart.doubtful}", item.id)
        name = f"{item.name}: {DOUBTFUL}"
        crosses.append(
            SeriesStyle(column, name, "measurements", column, DOUBTFUL_COLOR, marker="cross")
        )
    shown = SeriesStyle("marker", "shown frame", "marker", chart.name, MARKER_COLOR, "solid")
    return [*lines, *crosses, shown]
