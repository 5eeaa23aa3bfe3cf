"""Bar charts as SVG files that stand alone: no script, no font, no style sheet beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#2a78b8", "#d9822b", "#7a7a7a", "#3f9c63", "#a3543f", "#7d62a8", "#c2a83a", "#5aa3a3")
_BAR, _GAP, _LEFT, _RIGHT = 22, 16, 190, 70
_STYLE = "text{font:13px sans-serif;fill:#444}@media(prefers-color-scheme:dark){text{fill:#ccc}}"

Groups = Mapping[str, Mapping[str, float]]
"""Title of a group -> label of a bar -> value."""


def grouped_bars(groups: Groups, unit: str) -> str:
    """One bar per value, its number beside it."""
    labels = _labels(groups)
    longest = max((v for bars in groups.values() for v in bars.values()), default=1.0) or 1.0
    parts, y = _legend(labels)
    for title, bars in groups.items():
        parts.append(_text(_LEFT - 10, y + _BAR * len(bars) / 2 + 5, title, "end"))
        for label, value in bars.items():
            length = value / longest * _span()
            parts.append(_rect(_LEFT, y, length, COLOURS[labels.index(label) % len(COLOURS)]))
            parts.append(_text(_LEFT + length + 6, y + 15, _quantity(value, unit), "start"))
            y += _BAR
        y += _GAP
    return _svg(parts, y)


def stacked_bars(groups: Groups, unit: str) -> str:
    """One bar per group, its values one after another, and their sum."""
    labels = _labels(groups)
    longest = max((sum(bars.values()) for bars in groups.values()), default=1.0) or 1.0
    parts, y = _legend(labels)
    for title, bars in groups.items():
        parts.append(_text(_LEFT - 10, y + 15, title, "end"))
        x = float(_LEFT)
        for label, value in bars.items():
            length = value / longest * _span()
            colour = COLOURS[labels.index(label) % len(COLOURS)]
            parts.append(_rect(x, y, length, colour, f"{label}: {_quantity(value, unit)}"))
            x += length
        parts.append(_text(x + 6, y + 15, _quantity(sum(bars.values()), unit), "start"))
        y += _BAR + _GAP
    return _svg(parts, y)


_WIDTH = 860


def _quantity(value: float, unit: str) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _span() -> float:
    return _WIDTH - _LEFT - _RIGHT


def _labels(groups: Groups) -> list[str]:
    return list(dict.fromkeys(label for bars in groups.values() for label in bars))


def _legend(labels: Sequence[str]) -> tuple[list[str], float]:
    """Keys in rows, and where the bars begin."""
    parts, x, y = [], 10.0, 8.0
    for i, label in enumerate(labels):
        width = 34 + 7.5 * len(label)
        if x + width > _WIDTH:
            x, y = 10.0, y + 24
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="14" height="14" '
            f'fill="{COLOURS[i % len(COLOURS)]}"/>'
        )
        parts.append(_text(x + 20, y + 12, label, "start"))
        x += width
    return parts, y + 34


def _rect(x: float, y: float, length: float, colour: str, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(length, 0.5):.1f}" height="{_BAR - 3}" '
        f'fill="{colour}">{inner}</rect>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        f'width="{_WIDTH}"><style>{_STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"
    )
