"""Small pieces of HTML: tables, cells, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table(head: Sequence[str], rows: Sequence[str], text: set[int] | None = None) -> str:
    """A table from titles and finished rows; `text` are the columns aligned as text."""
    cells = "".join(
        f"{tag('th', 'text' if i in (text or set()) else '')}{escape(t)}</th>"
        for i, t in enumerate(head)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def tag(name: str, css: str = "") -> str:
    """An opening tag with its class."""
    return f'<{name} class="{css}">' if css else f"<{name}>"


def heat_cell(value: float | None) -> str:
    """A cell with a score in 0..1, from red to green."""
    if value is None:
        return "<td></td>"
    hue = round(8 + 132 * min(max((value - 0.3) / 0.65, 0), 1))
    return f'<td style="background:hsl({hue} 60% 50% / 0.18)">{percent(value)}</td>'


def percent(value: float | None, sign: bool = False) -> str:
    """A fraction in percent; a dash for None."""
    if value is None:
        return "&ndash;"
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def plain(value: float | None) -> str:
    """A number with two decimals; a dash for None."""
    return "&ndash;" if value is None else f"{value:.2f}"
