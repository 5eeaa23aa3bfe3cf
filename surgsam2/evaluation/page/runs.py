"""How a run is named, grouped, ordered and coloured, the same in every section."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from surgsam2.evaluation.prompting import TITLES
from surgsam2.evaluation.record import Record

COLOURS = 8
"""Colours of runs in the template; further runs use them again with another line."""


def long_name(run: Record) -> str:
    """Name and prompt setting."""
    prompts = run.get("prompts")
    return f"{run['name']}, {TITLES.get(prompts, prompts)}" if prompts else str(run["name"])


def group_of(run: Record) -> str:
    """Heading of the rows that a run belongs to."""
    if run["kind"] == "baseline":
        return "trivial baselines"
    prompts = run.get("prompts")
    return f"prompt: {TITLES.get(prompts, prompts)}" if prompts else "predictions"


def group_order(run: Record) -> int:
    """Sort key: prompt settings in their order, then predictions, then baselines."""
    if run["kind"] == "baseline":
        return len(TITLES) + 1
    order = list(TITLES)
    return order.index(run["prompts"]) if run.get("prompts") in order else len(order)


def fps_of(run: Record) -> float | None:
    """Frames per second; None where the run was not timed."""
    return (run.get("speed") or {}).get("fps")


def value_of(run: Record, convention: str, key: str) -> float:
    """A score for comparing runs: -1 where it is not defined."""
    value = run["overall"][convention][key]
    return -1.0 if value is None else float(value)


def css_of(runs: Sequence[Record], run: Record) -> str:
    """CSS classes of a run: its colour is its place among the models of `runs`."""
    if run["kind"] == "baseline":
        return "baseline flow" if "flow" in run["name"] else "baseline"
    models = [other for other in runs if other["kind"] != "baseline"]
    index = next(i for i, other in enumerate(models) if other is run)
    return f"run-{index % COLOURS}" + (" second" if index >= COLOURS else "")


def row_css(run: Record) -> str:
    """CSS class of a row of a table."""
    return "baseline" if run["kind"] == "baseline" else ""


def key_of(runs: Sequence[Record], run: Record) -> str:
    """The spot of colour that stands before the name of a run."""
    return f'<span class="key {css_of(runs, run)}"></span>'


def legend(runs: Sequence[Record], shown: Sequence[Record]) -> str:
    """Spots of colour and names of the runs `shown`."""
    items = "".join(f"<span>{key_of(runs, run)}{escape(long_name(run))}</span>" for run in shown)
    return f'<div class="legend">{items}</div>'
