"""The main table of an evaluation as text, for a terminal."""

from __future__ import annotations

from surgsam2.evaluation.record import Record, conventions_of


def summary_text(results: Record) -> str:
    """The accuracy table (in percent, headline convention) and the kinds of problems, as text."""
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
    kinds = sorted({p["kind"] for run in results["runs"] for p in run["problems"]})
    if kinds:
        lines.append(f"problems in the data ({', '.join(kinds)}): see the report")
    return "\n".join(line.rstrip() for line in lines)
