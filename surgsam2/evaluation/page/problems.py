"""What was unusual about the data, and how it was counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from surgsam2.evaluation.page.parts import table
from surgsam2.evaluation.page.runs import long_name
from surgsam2.evaluation.record import Record

MAX_NAMES = 12
"""Names of frames that are listed per problem."""


def problems_section(runs: Sequence[Record]) -> str:
    """A table of problems; empty without any."""
    rows = []
    for problem, names in merged_problems(runs):
        frames = problem["frames"]
        shown = ", ".join(frames[:MAX_NAMES]) + (", …" if len(frames) > MAX_NAMES else "")
        where = "every run" if len(names) == len(runs) else ", ".join(names)
        rows.append(
            f'<tr><td class="text">{escape(problem["kind"])}</td>'
            f'<td class="text">{escape(problem["sequence"])}</td>'
            f"<td>{len(frames) or ''}</td>"
            f'<td class="wrap">{escape(problem["message"])}'
            + (f'<br><span class="note">{escape(shown)}</span>' if frames else "")
            + f'</td><td class="wrap">{escape(problem["counted"])}</td>'
            f'<td class="wrap">{escape(where)}</td></tr>'
        )
    if not rows:
        return ""
    head = ["problem", "sequence", "frames", "what", "how it was counted", "in"]
    return (
        '<section class="warning"><h2>Problems in the data</h2>'
        f"{table(head, rows, text={1, 3, 4, 5})}</section>"
    )


def merged_problems(runs: Sequence[Record]) -> list[tuple[Record, list[str]]]:
    """Each problem once, with the names of its runs: a fault of the data is in all of them."""
    entries: dict[str, tuple[Record, list[str]]] = {}
    for run in runs:
        for problem in run.get("problems") or []:
            key = json.dumps(problem, sort_keys=True)
            entries.setdefault(key, (problem, []))[1].append(long_name(run))
    return list(entries.values())
