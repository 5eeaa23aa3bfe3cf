"""Charts as SVG text: no script, no font, no file beside the page.

Colours come from the page's CSS classes (``run-0`` to ``run-7``, ``baseline``), so
charts follow its light and dark looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

MAX_POINTS = 400
"""Longer courses are drawn by the lowest value of each stretch: dips stay visible."""

Values = Sequence[float | None]


@dataclass(frozen=True)
class Line:
    """One course over the frames, drawn with a CSS class of the page."""

    label: str
    css: str
    frames: Sequence[int]
    values: Values


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
    """Values in 0..1 over the frame index, as an SVG element.

    hidden: first and last frame of stretches to shade (the truth has no object).
    marks: frames of prompts, drawn as vertical lines.
    """
    frames = [f for line in lines for f in line.frames]
    low, high = (min(frames), max(frames)) if frames else (0, 1)
    plot = _Plot(width, height, low, max(high, low + 1), bottom=24 if x_axis else 8)
    parts = []
    for first, last in hidden:
        x0, x1 = plot.x(max(first - 0.5, low)), plot.x(min(last + 0.5, plot.high))
        parts.append(
            f'<rect class="hidden" x="{x0:.1f}" y="{plot.top}" width="{max(x1 - x0, 1):.1f}" '
            f'height="{plot.inner_height:.1f}"><title>not visible in the truth: '
            f"frames {first} to {last}</title></rect>"
        )
    parts += [plot.grid_line(v) for v in (0, 0.5, 1)]
    if x_axis:
        parts += [
            f'<text class="tick" x="{plot.x(tick):.1f}" y="{height - 8}" '
            f'text-anchor="middle">{tick}</text>'
            for tick in _ticks(low, plot.high)
        ]
    for mark in marks:
        x = plot.x(mark)
        parts.append(
            f'<line class="prompt" x1="{x:.1f}" x2="{x:.1f}" y1="{plot.top}" '
            f'y2="{height - plot.bottom}"><title>prompted on frame {mark}</title></line>'
        )
    for line in lines:
        for stretch in _stretches(line):
            points = " ".join(f"{plot.x(f):.1f},{plot.y(v):.1f}" for f, v in stretch)
            parts.append(
                f'<polyline class="{line.css}" points="{points}">'
                f"<title>{escape(line.label)}</title></polyline>"
            )
    return _svg(width, height, parts, label or "course over the frames")


def scatter(
    points: Sequence[tuple[str, str, float, float]],
    *,
    x_title: str,
    y_title: str,
    width: int = 560,
    height: int = 300,
) -> str:
    """(label, css, x > 0, y in 0..1) points; x is logarithmic and y starts where they do."""
    lows = [math.log10(p[2]) for p in points]
    low, high = math.floor(min(lows) - 0.15), math.ceil(max(lows) + 0.15)
    lowest = min(p[3] for p in points) - 0.05
    step = 0.1 if lowest > 0.4 else 0.2
    y_low = max(0.0, math.floor(lowest / step) * step)
    plot = _Plot(width, height, low, high, y_low=y_low, left=52, right=26, bottom=44, top=14)
    parts = []
    for i in range(round((1 - y_low) / step) + 1):
        parts.append(plot.grid_line(round(y_low + i * step, 3)))
    for power in range(low, high + 1):
        x = plot.x(power)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{plot.top}" '
            f'y2="{height - plot.bottom}"/>'
            f'<text class="tick" x="{x:.1f}" y="{height - 26}" text-anchor="middle">'
            f"{10.0**power:g}</text>"
        )
    for label, css, x_value, y_value in points:
        text = f"{label}: {x_value:.3g} FPS, {100 * y_value:.1f}"
        parts.append(
            f'<circle class="{css}" cx="{plot.x(math.log10(x_value)):.1f}" '
            f'cy="{plot.y(y_value):.1f}" r="6"><title>{escape(text)}</title></circle>'
        )
    parts.append(
        f'<text class="axis" x="{(plot.left + width) / 2:.0f}" y="{height - 6}" '
        f'text-anchor="middle">{escape(x_title)}</text>'
        f'<text class="axis" transform="translate(13 {(height - 40) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_title)}</text>'
    )
    return _svg(width, height, parts, f"{y_title} against {x_title}")


def reliability(bins: Sequence[dict[str, float]], css: str, *, size: int = 220) -> str:
    """Predicted against actual IoU; circles grow with their number of frames."""
    plot = _Plot(size, size, 0, 1, left=34, bottom=34, right=10, top=10)
    parts = [plot.grid_line(v) for v in (0, 0.5, 1)]
    parts += [
        f'<text class="tick" x="{plot.x(v):.1f}" y="{size - 18}" text-anchor="middle">{v:g}</text>'
        for v in (0, 0.5, 1)
    ]
    parts.append(
        f'<line class="diagonal" x1="{plot.x(0):.1f}" y1="{plot.y(0):.1f}" '
        f'x2="{plot.x(1):.1f}" y2="{plot.y(1):.1f}"/>'
    )
    most = max((b["frames"] for b in bins), default=1)
    for b in bins:
        radius = 2.5 + 6.5 * math.sqrt(b["frames"] / most)
        title = (
            f"predicted {b['predicted']:.2f}, actual {b['actual']:.2f}, {b['frames']:.0f} frames"
        )
        parts.append(
            f'<circle class="{css}" cx="{plot.x(b["predicted"]):.1f}" '
            f'cy="{plot.y(b["actual"]):.1f}" r="{radius:.1f}"><title>{title}</title></circle>'
        )
    parts.append(
        f'<text class="axis" x="{size / 2 + 12:.0f}" y="{size - 3}" text-anchor="middle">'
        "predicted IoU</text>"
    )
    return _svg(size, size, parts, "actual against predicted IoU")


class _Plot:
    """Where values are on the canvas."""

    def __init__(
        self,
        width: int,
        height: int,
        low: float,
        high: float,
        *,
        y_low: float = 0,
        left: int = 34,
        right: int = 12,
        top: int = 8,
        bottom: int = 24,
    ) -> None:
        self.width, self.height, self.low, self.high, self.y_low = width, height, low, high, y_low
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        self.inner_height = height - top - bottom

    def x(self, value: float) -> float:
        span = self.width - self.left - self.right
        return self.left + span * (value - self.low) / (self.high - self.low)

    def y(self, value: float) -> float:
        return self.top + self.inner_height * (1 - (value - self.y_low) / (1 - self.y_low))

    def grid_line(self, value: float) -> str:
        y = self.y(value)
        return (
            f'<line class="grid" x1="{self.left}" x2="{self.width - self.right}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{100 * value:g}</text>"
        )


def _svg(width: int, height: int, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" '
        f'style="max-width:{width}px">{"".join(parts)}</svg>'
    )


def _stretches(line: Line) -> list[list[tuple[int, float]]]:
    """The line in pieces without gaps, thinned to `MAX_POINTS`."""
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
