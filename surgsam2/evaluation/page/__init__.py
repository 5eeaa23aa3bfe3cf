"""The report as one HTML page: no network, no script, no file beside it.

Each section is a file with a function from records of runs to HTML, empty where
there is nothing to show.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template

from surgsam2.evaluation.page.accuracy import accuracy_section
from surgsam2.evaluation.page.breakdown import classes_section, sequences_section
from surgsam2.evaluation.page.calibration import estimates_section
from surgsam2.evaluation.page.courses import courses_section
from surgsam2.evaluation.page.head import head, notes_section
from surgsam2.evaluation.page.problems import problems_section
from surgsam2.evaluation.page.runs import COLOURS
from surgsam2.evaluation.page.speed import speed_section
from surgsam2.evaluation.page.worst import worst_section
from surgsam2.evaluation.record import Record, conventions_of

__all__ = ["render_html"]


def render_html(results: Record) -> str:
    """The page as text."""
    runs = results["runs"]
    scored = [run for run in runs if "overall" in run]
    convention = conventions_of(results)[0]
    parts = [head(results, scored, convention)]
    if scored:
        parts += [
            accuracy_section(results, scored),
            problems_section(scored),
            speed_section(scored, convention),
            sequences_section(scored, convention),
            classes_section(scored, convention),
        ]
    else:
        parts.append(problems_section(runs))
    parts += [
        courses_section(runs),
        estimates_section(scored),
        worst_section(runs),
        notes_section(results),
    ]
    template = Path(__file__).with_name("template.html").read_text(encoding="utf-8")
    colours = "\n".join(
        f"polyline.run-{i} {{ stroke: var(--c{i}); }} "
        f"circle.run-{i}, .key.run-{i} {{ fill: var(--c{i}); background: var(--c{i}); }}"
        for i in range(COLOURS)
    )
    return Template(template).substitute(
        title=escape(results["title"]), run_colours=colours, body="\n".join(p for p in parts if p)
    )
