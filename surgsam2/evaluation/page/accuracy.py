"""The main table: accuracy, cost, trivial baselines, published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from surgsam2.evaluation.conventions import CLASS_SCORES, SCORES
from surgsam2.evaluation.page.parts import percent, table, tag
from surgsam2.evaluation.page.runs import group_of, group_order, key_of, row_css, value_of
from surgsam2.evaluation.record import Record, conventions_of


def accuracy_section(results: Record, scored: Sequence[Record]) -> str:
    """Every convention, all but the headline one folded away."""
    first, *others = conventions_of(results)
    over = "classes" if any(r["class_iou"]["over"] == "classes" for r in scored) else "objects"
    return (
        "<section><h2>Accuracy</h2>"
        f"{_accuracy_table(results, scored, first.name)}"
        '<p class="note">J&amp;F, J, F and Dice in percent, mean over objects; '
        f"{escape(first.title)}. Challenge and ISI IoU over the {over} of each frame, no frame "
        "skipped. "
        '"vs baseline" is J&amp;F against the better of the trivial baselines; a tracker below '
        f"them is not worth its cost.{_memory_note(scored)}</p>"
        + "".join(
            f"<details><summary>The same with {escape(other.title)}</summary>"
            f"{_accuracy_table(results, scored, other.name)}</details>"
            for other in others
        )
        + "</section>"
    )


def _memory_note(scored: Sequence[Record]) -> str:
    kinds = {(run.get("speed") or {}).get("memory_of") for run in scored}
    notes = {
        "GPU": " Memory of a model on a GPU is the most that was allocated there during the run.",
        "process": " Memory without a GPU is the peak of the whole process during the run, with "
        "everything that is loaded or that earlier runs left; in brackets, by how much it "
        "exceeds what was in use when the run began, the model being loaded.",
    }
    return "".join(text for kind, text in notes.items() if kind in kinds)


def _accuracy_table(results: Record, scored: Sequence[Record], convention: str) -> str:
    has_classes = any(run["class_iou"]["mean_class_iou"] is not None for run in scored)
    ious = {k: t for k, t in CLASS_SCORES.items() if has_classes or k != "mean_class_iou"}
    baselines = [run for run in scored if run["kind"] == "baseline"]
    floor = max((value_of(run, convention, "J&F") for run in baselines), default=None)
    timed = any(run.get("speed") for run in scored)
    head = ["", *SCORES, *ious.values()]
    head += (["vs baseline"] if baselines else []) + (
        ["FPS", "ms/frame", "memory"] if timed else []
    )
    models = [run for run in scored if run["kind"] != "baseline"]
    best = {
        key: max((value_of(run, convention, key) for run in models), default=-1) for key in SCORES
    }
    rows = []
    last_group: str | None = None
    for run in sorted(scored, key=group_order):
        group = group_of(run)
        if group != last_group:
            rows.append(f'<tr class="group"><td colspan="{len(head)}">{escape(group)}</td></tr>')
            last_group = group
        cells = [f'<td class="text">{key_of(scored, run)}{escape(run["name"])}</td>']
        for key in SCORES:
            value = run["overall"][convention][key]
            mark = value is not None and run in models and len(models) > 1 and value == best[key]
            cells.append(f"{tag('td', 'best' if mark else '')}{percent(value)}</td>")
        cells += [f"<td>{percent(run['class_iou'][key])}</td>" for key in ious]
        if baselines:
            cells.append(f"<td>{_against(run, convention, floor)}</td>")
        if timed:
            cells += _speed_cells(run.get("speed"))
        rows.append(f"{tag('tr', row_css(run))}{''.join(cells)}</tr>")
    rows += _published(results, ious, baselines, timed)
    return table(head, rows)


def _published(
    results: Record, ious: Iterable[str], baselines: Sequence[Record], timed: bool
) -> list[str]:
    rows = []
    for entry in results.get("published") or []:
        cells = [
            f'<td class="text">{escape(entry["name"])}<br><span class="note">'
            f"{escape(entry['source'])}, {escape(entry['table'])}, page {entry['page']}</span></td>"
        ]
        cells += [f"<td>{percent(entry['scores'].get(key))}</td>" for key in SCORES]
        cells += [f"<td>{percent(entry['scores'].get(key))}</td>" for key in ious]
        cells += ["<td></td>"] * (1 if baselines else 0)
        cells += [f"<td>{entry.get('fps') or ''}</td><td></td><td></td>"] if timed else []
        rows.append(f'<tr class="published">{"".join(cells)}</tr>')
    if rows:
        rows.insert(0, '<tr class="group"><td colspan="20">published</td></tr>')
    return rows


def _against(run: Record, convention: str, floor: float | None) -> str:
    value = run["overall"][convention]["J&F"]
    if run["kind"] == "baseline" or value is None or floor is None:
        return ""
    gain = round(100 * (value - floor), 1)  # as it is shown
    if gain == 0:
        return "0.0 equal"
    css, note = ("up", "") if gain > 0 else ("down", " below")
    return f'<span class="{css}">{gain:+.1f}{note}</span>'


def _speed_cells(speed: Record | None) -> list[str]:
    if not speed:
        return ["<td></td>"] * 3
    memory, growth = speed.get("peak_memory_mb"), speed.get("memory_growth_mb")
    grown = "" if growth is None else f" (+{growth:,.0f})"
    return [
        f"<td>{speed['fps']:.1f}</td>" if speed.get("fps") else "<td></td>",
        f"<td>{speed['median_ms']:.0f}</td>" if speed.get("median_ms") else "<td></td>",
        f"<td>{memory:,.0f} MB{grown}</td>" if memory else "<td></td>",
    ]
