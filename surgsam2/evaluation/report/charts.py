"""Charts as SVG text, for the evaluation report and for the benchmark's page.

An SVG has no script, no font and no file beside it. Charts of the evaluation report take
their colours from CSS classes of the page (``run-0`` to ``run-7``, ``baseline``) and
therefore follow its light and dark looks. Bar charts of the benchmark are files of their
own and carry their style with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

MAX_POINTS = 400
"""Most points of a line. Longer courses are drawn by the lowest value of each stretch of
frames, so that short drops stay visible."""

Values = Sequence[float | None]


@dataclass(frozen=True)
class Line:
    """Values over the frames, drawn as one line with a CSS class of the page."""

    label: str
    css: str
    frames: Sequence[int]
    values: Values
    """Numbers in 0..1, one per frame; None interrupts the line."""


def course(
    lines: Sequence[Line],
    *,
    hidden: Sequence[tuple[int, int]] = (),
    marks: Sequence[int] = (),
    label: str = "",
    width: int = 1100,
    height: int = 150,
    x_axis: bool = True,
) -> str:
    """Draw values over the frame index.

    Args:
        lines: The lines; the last one is drawn over the others.
        hidden: First and last frame of stretches to shade, where the truth has no object.
        marks: Frames of prompts, drawn as vertical lines.
        label: Description of the chart for screen readers.
        width: Width in pixels.
        height: Height in pixels.
        x_axis: Whether frame indices are written below.
    """
    frames = [f for line in lines for f in line.frames]
    low, high = (min(frames), max(frames)) if frames else (0, 1)
    plot = _Plot(width, height, low, max(high, low + 1), bottom=24 if x_axis else 8)
    svg = _svg(width, height, label or "course over the frames")
    for first, last in hidden:
        x0, x1 = plot.x(max(first - 0.5, low)), plot.x(min(last + 0.5, plot.high))
        shade = _rect(svg, x0, plot.top, max(x1 - x0, 1), plot.inner_height, {"class": "hidden"})
        _title(shade, f"not visible in the truth: frames {first} to {last}")
    for value in (0, 0.5, 1):
        plot.draw_grid_line(svg, value)
    if x_axis:
        for tick in _ticks(low, plot.high):
            _text(svg, plot.x(tick), height - 8, str(tick), "middle", "tick")
    for mark in marks:
        line = _vertical(svg, plot.x(mark), plot.top, height - plot.bottom, "prompt")
        _title(line, f"prompted on frame {mark}")
    for each in lines:
        for piece in _pieces(each):
            points = " ".join(f"{plot.x(f):.1f},{plot.y(v):.1f}" for f, v in piece)
            _title(SubElement(svg, "polyline", {"class": each.css, "points": points}), each.label)
    return _as_text(svg)


def scatter(
    points: Sequence[tuple[str, str, float, float]],
    *,
    x_title: str,
    y_title: str,
    width: int = 560,
    height: int = 300,
) -> str:
    """Draw points over a logarithmic x axis.

    Args:
        points: (label, CSS class, x above 0, y in 0..1). The y axis begins below the lowest.
        x_title: Title of the x axis, which is frames per second.
        y_title: Title of the y axis.
        width: Width in pixels.
        height: Height in pixels.
    """
    powers = [math.log10(p[2]) for p in points]
    low, high = math.floor(min(powers) - 0.15), math.ceil(max(powers) + 0.15)
    lowest = min(p[3] for p in points) - 0.05
    step = 0.1 if lowest > 0.4 else 0.2
    y_low = max(0.0, math.floor(lowest / step) * step)
    plot = _Plot(width, height, low, high, y_low=y_low, left=52, right=26, bottom=44, top=14)
    svg = _svg(width, height, f"{y_title} against {x_title}")
    for i in range(round((1 - y_low) / step) + 1):
        plot.draw_grid_line(svg, round(y_low + i * step, 3))
    for power in range(low, high + 1):
        x = plot.x(power)
        _vertical(svg, x, plot.top, height - plot.bottom, "grid")
        _text(svg, x, height - 26, f"{10.0**power:g}", "middle", "tick")
    for label, css, x_value, y_value in points:
        circle = _circle(svg, plot.x(math.log10(x_value)), plot.y(y_value), 6, css)
        _title(circle, f"{label}: {x_value:.3g} FPS, {100 * y_value:.1f}")
    _text(svg, (plot.left + width) / 2, height - 6, x_title, "middle", "axis")
    turned = _text(svg, 0, 0, y_title, "middle", "axis")
    turned.set("transform", f"translate(13 {(height - 40) / 2:.0f}) rotate(-90)")
    return _as_text(svg)


def reliability(bins: Sequence[dict[str, float]], css: str, *, size: int = 220) -> str:
    """Draw actual against predicted IoU.

    Args:
        bins: Bins of `iou_calibration`. Circles grow with their number of frames.
        css: CSS class of the circles.
        size: Width and height in pixels.
    """
    plot = _Plot(size, size, 0, 1, left=34, bottom=34, right=10, top=10)
    svg = _svg(size, size, "actual against predicted IoU")
    for value in (0, 0.5, 1):
        plot.draw_grid_line(svg, value)
        _text(svg, plot.x(value), size - 18, f"{value:g}", "middle", "tick")
    ends = {"x1": plot.x(0), "y1": plot.y(0), "x2": plot.x(1), "y2": plot.y(1)}
    SubElement(svg, "line", {"class": "diagonal", **{k: f"{v:.1f}" for k, v in ends.items()}})
    most = max((b["frames"] for b in bins), default=1)
    for b in bins:
        radius = 2.5 + 6.5 * math.sqrt(b["frames"] / most)
        circle = _circle(svg, plot.x(b["predicted"]), plot.y(b["actual"]), radius, css)
        _title(
            circle,
            f"predicted {b['predicted']:.2f}, actual {b['actual']:.2f}, {b['frames']:.0f} frames",
        )
    _text(svg, size / 2 + 12, size - 3, "predicted IoU", "middle", "axis")
    return _as_text(svg)


Groups = Mapping[str, Mapping[str, float]]
"""Title of a group -> label of a bar -> value."""

BAR_COLOURS = (
    *("#2a78b8", "#d9822b", "#7a7a7a", "#3f9c63"),
    *("#a3543f", "#7d62a8", "#c2a83a", "#5aa3a3"),
)
_BAR_STYLE = (
    "text{font:13px sans-serif;fill:#444}@media(prefers-color-scheme:dark){text{fill:#ccc}}"
)


def grouped_bars(groups: Groups, unit: str) -> str:
    """Draw one bar per value with its number beside it, as an SVG file."""
    chart = _BarChart(groups, max((v for g in groups.values() for v in g.values()), default=1.0))
    for title, bars in groups.items():
        chart.write_title(title, chart.pitch * len(bars) / 2 + 5)
        for label, value in bars.items():
            end = chart.draw_bar(chart.left, label, value)
            chart.write_quantity(end, value, unit)
            chart.y += chart.pitch
        chart.y += chart.gap
    return chart.finish()


def stacked_bars(groups: Groups, unit: str) -> str:
    """Draw one bar per group, its values one after another and their sum, as an SVG file."""
    chart = _BarChart(groups, max((sum(g.values()) for g in groups.values()), default=1.0))
    for title, bars in groups.items():
        chart.write_title(title, 15)
        x = float(chart.left)
        for label, value in bars.items():
            x = chart.draw_bar(x, label, value, f"{label}: {_quantity(value, unit)}")
        chart.write_quantity(x, sum(bars.values()), unit)
        chart.y += chart.pitch + chart.gap
    return chart.finish()


@dataclass
class _Plot:
    """Scales from values to pixels of a chart: x from `low` to `high`, y from `y_low` to 1."""

    width: int
    height: int
    low: float
    high: float
    y_low: float = field(default=0, kw_only=True)
    left: int = field(default=34, kw_only=True)
    right: int = field(default=12, kw_only=True)
    top: int = field(default=8, kw_only=True)
    bottom: int = field(default=24, kw_only=True)

    @property
    def inner_height(self) -> int:
        return self.height - self.top - self.bottom

    def x(self, value: float) -> float:
        span = self.width - self.left - self.right
        return self.left + span * (value - self.low) / (self.high - self.low)

    def y(self, value: float) -> float:
        return self.top + self.inner_height * (1 - (value - self.y_low) / (1 - self.y_low))

    def draw_grid_line(self, svg: Element, value: float) -> None:
        """Draw a horizontal line at a value in 0..1, with its number in percent."""
        y = f"{self.y(value):.1f}"
        ends = {"x1": str(self.left), "x2": str(self.width - self.right), "y1": y, "y2": y}
        SubElement(svg, "line", {"class": "grid", **ends})
        _text(svg, self.left - 6, self.y(value) + 4, f"{100 * value:g}", "end", "tick")


class _BarChart:
    """An SVG file with horizontal bars from top to bottom, below a legend.

    Args:
        groups: The values; they give the legend its labels.
        longest: The value of the longest bar.
    """

    width, left, right = 860, 190, 70
    pitch, gap = 22, 16

    def __init__(self, groups: Groups, longest: float) -> None:
        self._labels = list(dict.fromkeys(label for bars in groups.values() for label in bars))
        self._pixels_per_unit = (self.width - self.left - self.right) / (longest or 1.0)
        self._svg = Element(
            "svg", {"xmlns": "http://www.w3.org/2000/svg", "width": str(self.width)}
        )
        SubElement(self._svg, "style").text = _BAR_STYLE
        self.y = self._draw_legend()
        """Top of the next bar in pixels."""

    def write_title(self, title: str, below: float) -> None:
        """Write a group's title left of its bars, `below` pixels under the next bar's top."""
        _text(self._svg, self.left - 10, self.y + below, title, "end")

    def write_quantity(self, x: float, value: float, unit: str) -> None:
        """Write a number right of a bar that ends at `x`."""
        _text(self._svg, x + 6, self.y + 15, _quantity(value, unit), "start")

    def draw_bar(self, x: float, label: str, value: float, title: str = "") -> float:
        """Draw a bar from `x` on and return where it ends."""
        length = value * self._pixels_per_unit
        colour = {"fill": self._colour(label)}
        bar = _rect(self._svg, x, self.y, max(length, 0.5), self.pitch - 3, colour)
        if title:
            _title(bar, title)
        return x + length

    def finish(self) -> str:
        """Return the file's text."""
        self._svg.set("viewBox", f"0 0 {self.width} {self.y:.0f}")
        return _as_text(self._svg) + "\n"

    def _colour(self, label: str) -> str:
        return BAR_COLOURS[self._labels.index(label) % len(BAR_COLOURS)]

    def _draw_legend(self) -> float:
        x, y = 10.0, 8.0
        for label in self._labels:
            width = 34 + 7.5 * len(label)
            if x + width > self.width:
                x, y = 10.0, y + 24
            _rect(self._svg, x, y, 14, 14, {"fill": self._colour(label)})
            _text(self._svg, x + 20, y + 12, label, "start")
            x += width
        return y + 34


def _svg(width: int, height: int, label: str) -> Element:
    return Element(
        "svg",
        {
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "aria-label": label,
            "style": f"max-width:{width}px",
        },
    )


def _as_text(svg: Element) -> str:
    return ElementTree.tostring(svg, encoding="unicode")


def _rect(
    svg: Element, x: float, y: float, width: float, height: float, look: Mapping[str, str]
) -> Element:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": f"{height:g}"}
    return SubElement(svg, "rect", {**place, **look})


def _circle(svg: Element, x: float, y: float, radius: float, css: str) -> Element:
    place = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{radius:.1f}"}
    return SubElement(svg, "circle", {"class": css, **place})


def _vertical(svg: Element, x: float, top: float, bottom: float, css: str) -> Element:
    ends = {"x1": f"{x:.1f}", "x2": f"{x:.1f}", "y1": f"{top:g}", "y2": f"{bottom:g}"}
    return SubElement(svg, "line", {"class": css, **ends})


def _text(svg: Element, x: float, y: float, text: str, anchor: str, css: str = "") -> Element:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    element = SubElement(svg, "text", {**({"class": css} if css else {}), **place})
    element.text = text
    return element


def _title(element: Element, text: str) -> None:
    """Add the text that a browser shows while the mouse is over an element."""
    SubElement(element, "title").text = text


def _quantity(value: float, unit: str) -> str:
    """Format a number with three digits, or with all digits before the point."""
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _pieces(line: Line) -> list[list[tuple[int, float]]]:
    """Cut a line where values are missing, after thinning it to `MAX_POINTS`."""
    known = list(zip(line.frames, line.values, strict=True))
    if len(known) > MAX_POINTS:
        size = math.ceil(len(known) / MAX_POINTS)
        groups = [known[i : i + size] for i in range(0, len(known), size)]
        known = [
            min(group, key=lambda point: math.inf if point[1] is None else point[1])
            for group in groups
        ]
    pieces: list[list[tuple[int, float]]] = [[]]
    for frame, value in known:
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((frame, min(max(value, 0.0), 1.0)))
    return [piece for piece in pieces if piece]


def _ticks(low: float, high: float) -> list[int]:
    span = high - low
    step = 10 ** math.floor(math.log10(span)) if span > 0 else 1
    for factor in (5, 2, 1, 0.5, 0.2):
        if span / (step * factor) >= 4:
            step = step * factor
            break
    step = max(1, round(step))
    first = math.ceil(low / step) * step
    return list(range(first, math.floor(high) + 1, step))
