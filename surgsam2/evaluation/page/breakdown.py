"""The accuracy of each sequence and of each class."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from surgsam2.evaluation.conventions import Convention
from surgsam2.evaluation.page.parts import heat_cell, table, tag
from surgsam2.evaluation.page.runs import group_order, key_of, long_name, row_css
from surgsam2.evaluation.record import Record


def sequences_section(scored: Sequence[Record], convention: Convention) -> str:
    """J&F of each run on each sequence; empty where there is only one."""
    names = list(dict.fromkeys(s["name"] for run in scored for s in run["sequences"]))
    if len(names) < 2:
        return ""
    rows = []
    for run in sorted(scored, key=group_order):
        values = {s["name"]: s[convention.name]["J&F"] for s in run["sequences"]}
        label = long_name(run)
        rows.append(
            f'{tag("tr", row_css(run))}<td class="text">{key_of(scored, run)}{escape(label)}</td>'
            + "".join(heat_cell(values.get(name)) for name in names)
            + "</tr>"
        )
    return (
        "<section><h2>J&amp;F per sequence</h2>"
        f"{table(['', *names], rows)}"
        f'<p class="note">Mean over the objects of each sequence; {escape(convention.title)}.</p>'
        "</section>"
    )


def classes_section(scored: Sequence[Record], convention: Convention) -> str:
    """J&F and IoU of each run on each class; empty without classes."""
    with_classes = [run for run in scored if run.get("classes")]
    if not with_classes:
        return ""
    names = {c["id"]: c["name"] for run in with_classes for c in run["classes"]}
    rows = []
    for run in sorted(with_classes, key=group_order):
        label = long_name(run)
        for title, value in (
            ("J&F", lambda c: c[convention.name]["J&F"]),
            ("class IoU", lambda c: c["IoU"]),
        ):
            values = {c["id"]: value(c) for c in run["classes"]}
            rows.append(
                f'<tr><td class="text">{key_of(scored, run)}{escape(label)}</td>'
                f'<td class="text">{escape(title)}</td>'
                + "".join(heat_cell(values.get(i)) for i in sorted(names))
                + "</tr>"
            )
    return (
        "<section><h2>Per class</h2>"
        f"{table(['', 'score', *(names[i] for i in sorted(names))], rows, text={1})}"
        f'<p class="note">J&amp;F: mean over the objects of the class; {escape(convention.title)}. '
        "Class IoU: mean over the frames where truth or prediction has the class.</p></section>"
    )
