"""Accuracy against speed."""

from __future__ import annotations

from collections.abc import Sequence

from surgsam2.evaluation import charts
from surgsam2.evaluation.conventions import Convention
from surgsam2.evaluation.page.runs import css_of, fps_of, legend, long_name
from surgsam2.evaluation.record import Record


def speed_section(scored: Sequence[Record], convention: Convention) -> str:
    """A chart; empty with fewer than two runs of known speed."""
    points = [
        (
            long_name(run),
            css_of(scored, run),
            run["speed"]["fps"],
            run["overall"][convention.name]["J&F"],
        )
        for run in scored
        if fps_of(run) and run["overall"][convention.name]["J&F"] is not None
    ]
    if len(points) < 2:
        return ""
    chart = charts.scatter(points, x_title="frames per second", y_title="J&F")
    keys = legend(scored, [run for run in scored if fps_of(run)])
    return (
        "<section><h2>Accuracy against speed</h2>"
        f'<div class="columns"><div style="flex:2 1 480px">{chart}</div><div>{keys}'
        '<p class="note">Further right is faster, higher is more accurate. Speed is the time '
        "inside the tracker, all objects of a frame together, after a warm-up; reading frames "
        "and scoring are not part of it.</p></div></div></section>"
    )
