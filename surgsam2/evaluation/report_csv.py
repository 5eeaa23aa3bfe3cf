"""All scores of an evaluation as `results.csv`."""

from __future__ import annotations

import csv
import io

from surgsam2.evaluation.conventions import CLASS_SCORES, SCORES
from surgsam2.evaluation.record import Record, conventions_of

COLUMNS = (
    *("run", "kind", "model", "config", "image_size", "efp", "prompts", "level", "sequence"),
    *("object", "class", "name", "convention", *SCORES),
    *(*CLASS_SCORES, "class_iou", "frames", "fps", "peak_memory_mb"),
)


def render_csv(results: Record) -> str:
    """One line per run and convention, and per sequence, class and object of it.

    `level` says which; scores are in 0..1, an empty cell is not defined. The headline
    convention comes first; the class IoUs (`class_iou`: that of the line's class) are
    over every annotated frame and the same in all conventions.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
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


def _cells(line: Record, level: str, scores: Record, class_iou: Record | None = None) -> Record:
    ious = {key: (class_iou or {}).get(key) for key in CLASS_SCORES}
    return (
        {**line, "level": level, "frames": scores["frames"]}
        | ious
        | {key: scores[key] for key in SCORES}
    )
