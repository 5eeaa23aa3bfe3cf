"""Tables of an evaluation: all scores as CSV, and the main table as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from surgsam2.evaluation.metrics.conventions import CLASS_SCORES, SCORES
from surgsam2.evaluation.metrics.returns import SCORES as RETURNS
from surgsam2.evaluation.report.record import Record, conventions_of
from surgsam2.storage.text import spreadsheet_cell

IN_FRAMES = ("frames_to_recover", "switches")
"""Scores of returns that are numbers, not shares."""

COLUMNS = (
    *("run", "kind", "model", "config", "image_size", "efp", "prompts", "level", "sequence"),
    *("object", "class", "name", "convention", *SCORES),
    *(*CLASS_SCORES, "class_iou", "frames", "fps", "peak_memory_mb"),
)


class _SafeWriter(csv.DictWriter):
    """Writes names that a spreadsheet would take for formulas with an apostrophe before them."""

    def writerow(self, rowdict: Mapping[str, Any]) -> Any:
        return super().writerow(
            {k: spreadsheet_cell(v) if isinstance(v, str) else v for k, v in rowdict.items()}
        )


def render_csv(results: Record) -> str:
    """Return the text of `results.csv`.

    There is one line per run and convention, and one for each of the run's sequences,
    classes and objects; the column `level` tells which. Scores are in 0..1, and the cell
    of a score that is not defined is empty. The headline convention comes first. Class
    IoUs are over every annotated frame and the same in all conventions; `class_iou` is
    that of the line's class.
    """
    text = io.StringIO()
    writer = _SafeWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for run in results["runs"]:
        if "overall" not in run:
            continue
        speed = run.get("speed") or {}
        base = {
            "run": run["name"],
            **{k: run.get(k) for k in ("kind", "model", "config", "image_size", "efp", "prompts")},
        }
        for convention in (c.name for c in conventions_of(results)):
            line = {**base, "convention": convention}
            writer.writerow(
                _cells(line, "overall", run["overall"][convention], run["class_iou"])
                | {"fps": speed.get("fps"), "peak_memory_mb": speed.get("peak_memory_mb")}
            )
            for row in run.get("classes") or []:
                facts = {"class": row["id"], "name": row["name"], "class_iou": row["IoU"]}
                writer.writerow(_cells(line, "class", row[convention]) | facts)
            for sequence in run["sequences"]:
                facts = {"sequence": sequence["name"]}
                writer.writerow(
                    _cells(line, "sequence", sequence[convention], sequence["class_iou"]) | facts
                )
                for item in sequence["objects"]:
                    own = {"object": item["id"], "class": item["class"], "name": item["name"]}
                    writer.writerow(_cells(line, "object", item[convention]) | facts | own)
    return text.getvalue()


def summary_text(results: Record) -> str:
    """Return the accuracy table in percent, by the headline convention, and the problems' kinds."""
    width = max(len(run["name"]) for run in results["runs"])
    convention = conventions_of(results)[0]
    lines = [f"in percent; {convention.title}"]
    lines += [f"{'':{width}}  prompts   J&F     J     F  Dice    FPS"]
    for run in results["runs"]:
        scores = run["overall"][convention.name]
        numbers = " ".join(
            "   - " if scores[key] is None else f"{100 * scores[key]:5.1f}"
            for key in ("J&F", "J", "F", "Dice")
        )
        fps = (run.get("speed") or {}).get("fps")
        speed = "" if fps is None else f"{fps:6.1f}"
        lines.append(f"{run['name']:{width}}  {run.get('prompts') or '-':7} {numbers} {speed}")
    if any(run.get("returns") for run in results["runs"]):
        lines += ["", *_returns_lines(results, width)]
    kinds = sorted({p["kind"] for run in results["runs"] for p in run["problems"]})
    if kinds:
        lines.append(f"problems in the data ({', '.join(kinds)}): see the report")
    return "\n".join(line.rstrip() for line in lines)


def _returns_lines(results: Record, width: int) -> list[str]:
    """Return a table of the returns after absences, mean over all absences."""
    lines = ["returns after an absence; scores in percent"]
    lines += [f"{'':{width}}  " + "  ".join(RETURNS.values())]
    for run in results["runs"]:
        overall = (run.get("returns") or {}).get("overall")
        if overall and overall["absences"]:
            cells = [
                f"{overall[key] * (1 if key in IN_FRAMES else 100):{len(title)}.1f}"
                for key, title in RETURNS.items()
            ]
            name = f"{run['name']}, {run['prompts']}" if run.get("prompts") else run["name"]
            lines.append(f"{name:{width}}  " + "  ".join(cells))
    return lines


def _cells(line: Record, level: str, scores: Record, class_iou: Record | None = None) -> Record:
    ious = {key: (class_iou or {}).get(key) for key in CLASS_SCORES}
    return (
        {**line, "level": level, "frames": scores["frames"]}
        | ious
        | {key: scores[key] for key in SCORES}
    )
