"""Title, the few numbers that matter most, and how everything was counted."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from surgsam2.evaluation.conventions import Convention
from surgsam2.evaluation.page.parts import percent
from surgsam2.evaluation.page.problems import merged_problems
from surgsam2.evaluation.page.runs import fps_of, long_name, value_of
from surgsam2.evaluation.record import Record


def head(results: Record, scored: Sequence[Record], convention: Convention) -> str:
    """Title, date, and tiles with the few numbers that matter most."""
    protocol, dataset = results.get("protocol") or {}, results.get("dataset") or {}
    facts = [protocol.get("title"), dataset.get("name"), results.get("created")]
    tiles = []
    models = [run for run in scored if run["kind"] != "baseline"]
    best = max(models, key=lambda r: value_of(r, convention.name, "J&F"), default=None)
    if best is not None and best["overall"][convention.name]["J&F"] is not None:
        title = ("J&F: " if len(models) == 1 else "best J&F: ") + long_name(best)
        tiles.append((percent(best["overall"][convention.name]["J&F"]), title))
    fast = [run for run in models if fps_of(run)]
    if fast:
        quick = max(fast, key=lambda r: r["speed"]["fps"])
        tiles.append((f"{quick['speed']['fps']:.1f}", f"FPS: {long_name(quick)}"))
    for key in ("sequences", "objects", "frames"):
        if dataset.get(key) is not None:
            tiles.append((f"{dataset[key]:,}", f"annotated {key}" if key == "frames" else key))
    count = sum(len(problem["frames"]) or 1 for problem, _ in merged_problems(scored))
    if scored:
        tiles.append((str(count), "problems in the data"))
    return (
        f"<h1>{escape(results['title'])}</h1>"
        f'<p class="soft">{" · ".join(escape(str(f)) for f in facts if f)}</p>'
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(v)}</b><span>{escape(t)}</span></div>' for v, t in tiles
        )
        + "</div>"
    )


def notes_section(results: Record) -> str:
    """How it was counted, settings, environment."""
    lines = [str(line) for line in (results.get("protocol") or {}).get("counting") or []]
    facts = {**(results.get("settings") or {}), **(results.get("environment") or {})}
    if not lines and not facts:
        return ""
    rows = "".join(
        f'<tr><td class="text">{escape(str(k))}</td><td class="wrap">{escape(str(v))}</td></tr>'
        for k, v in facts.items()
        if v not in (None, "", [])
    )
    return (
        "<section><h2>How it was counted</h2>"
        + "".join(f"<p>{escape(line)}</p>" for line in lines)
        + (f'<div class="scroll"><table>{rows}</table></div>' if rows else "")
        + "</section>"
    )
