"""Each object over time: overlap, area, and what the model estimates."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from surgsam2.evaluation import charts
from surgsam2.evaluation.page.runs import css_of, legend, long_name
from surgsam2.evaluation.record import Record


def courses_section(runs: Sequence[Record]) -> str:
    """Charts of every object of every sequence, the first sequence unfolded."""
    places: dict[str, list[int]] = {}
    for run in runs:
        for sequence in run["sequences"]:
            ids = places.setdefault(sequence["name"], [])
            ids += [o["id"] for o in sequence["objects"] if o["id"] not in ids]
    blocks = []
    for number, (name, ids) in enumerate(places.items()):
        charts_of_objects = "".join(_object_courses(runs, name, object_id) for object_id in ids)
        blocks.append(
            f"<details{' open' if number == 0 else ''}><summary>{escape(name)}</summary>"
            f"{charts_of_objects}</details>"
        )
    if not blocks:
        return ""
    what = "IoU (J) and presence" if any("overall" in r for r in runs) else "Presence and quality"
    prompt = " Dotted line: its prompt." if _prompted(runs) else ""
    return (
        f"<section><h2>{what} over time</h2>{legend(runs, runs)}"
        f'<p class="note">Shaded: the object is not visible in the truth.{prompt}</p>'
        + "".join(blocks)
        + "</section>"
    )


def _object_courses(runs: Sequence[Record], sequence: str, object_id: int) -> str:
    found = [
        (run, item)
        for run in runs
        for s in run["sequences"]
        if s["name"] == sequence
        for item in s["objects"]
        if item["id"] == object_id
    ]
    first = found[0][1]
    title = f"object {object_id}" + (f": {first['name']}" if first.get("name") else "")
    hidden = _hidden(first)
    prompt = first.get("prompt_frame") if _prompted(runs) else None
    marks = [] if prompt is None else [prompt]
    rows = (
        ("J", "J: overlap with the truth, percent"),
        ("area", "area, percent of the image"),
        ("presence", "presence as the model estimates it, percent"),
        ("iou_score", "IoU as the model estimates it, percent"),
    )
    kinds = [row for row in rows if any(item.get(row[0]) for _, item in found)]
    parts = [f"<h3>{escape(title)}</h3>"]
    for number, (kind, caption) in enumerate(kinds):
        lines = [
            charts.Line(long_name(run), css_of(runs, run), item["frames"], item[kind])
            for run, item in found
            if item.get(kind)
        ]
        # baselines first, so that models are drawn over them
        lines.sort(key=lambda line: not line.css.startswith("baseline"))
        main = kind == "J"
        parts.append(f'<p class="strip">{caption}</p>')
        parts.append(
            charts.course(
                lines,
                hidden=hidden,
                marks=marks,
                label=f"{title}, {caption}",
                height=150 if main else 84,
                x_axis=number == len(kinds) - 1,
            )
        )
    return "".join(parts)


def _prompted(runs: Sequence[Record]) -> bool:
    """Whether any run was prompted; masks that existed already were not, as far as we know."""
    return any(run["kind"] == "model" for run in runs)


def _hidden(item: Record) -> list[tuple[int, int]]:
    """Stretches of annotated frames without the object, as (first, last) frame."""
    stretches: list[tuple[int, int]] = []
    running = False
    for frame, visible in zip(item["frames"], item.get("visible") or [], strict=False):
        if visible:
            running = False
        elif running:
            stretches[-1] = (stretches[-1][0], frame)
        else:
            stretches.append((frame, frame))
            running = True
    return stretches
