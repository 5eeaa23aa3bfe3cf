"""Results as three files: `results.json`, `results.csv`, and one `report.html`.

The page holds everything it shows: no network, no script, no file beside it. The
same functions serve the evaluation command, the demo and the review of a video
that was tracked without a truth (`tracking_record`).
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from surgsam2.atomic import write_text_atomically, writing
from surgsam2.evaluation import charts
from surgsam2.evaluation.conventions import CONVENTIONS, SCORES
from surgsam2.evaluation.prompting import TITLES
from surgsam2.results import FrameResult

Record = dict[str, Any]

CLASS_SCORES = (
    ("challenge_iou", "Challenge IoU"),
    ("isi_iou", "ISI IoU"),
    ("mean_class_iou", "mean class IoU"),
)
COLOURS = 8
MAX_NAMES = 12


def write_report(results: Record, folder: Path) -> dict[str, Path]:
    """Write the three files into `folder` (made when absent); their paths by kind.

    results: as `runner.evaluate` returns it, or any dictionary with `title` and `runs`.
    """
    texts = {
        "json": json.dumps(without_pictures(results), indent=1, allow_nan=False) + "\n",
        "csv": render_csv(results),
        "html": render_html(results),
    }
    names = {"json": "results.json", "csv": "results.csv", "html": "report.html"}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / name for kind, name in names.items()}
    for kind, text in texts.items():
        write_text_atomically(paths[kind], text)
    return paths


def summary_text(results: Record) -> str:
    """The accuracy table (in percent, DAVIS counting) and the kinds of problems, as text."""
    width = max(len(run["name"]) for run in results["runs"])
    lines = [f"{'':{width}}  prompts   J&F     J     F  Dice    FPS"]
    for run in results["runs"]:
        scores = run["overall"]["davis"]
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


def without_pictures(results: Record) -> Record:
    """A copy for JSON: thumbnails stay in the HTML report only."""
    runs = []
    for run in results["runs"]:
        worst = [{k: v for k, v in w.items() if k != "jpeg"} for w in run.get("worst") or []]
        runs.append({**run, "worst": worst})
    return {**results, "runs": runs}


def tracking_record(
    name: str, results: Iterable[FrameResult], names: Mapping[int, str] | None = None
) -> Record:
    """The record of a tracked video without a truth, for `write_report`.

    Per object and frame: area as a fraction of the image, presence and predicted IoU.
    Feed results as they come; only numbers are kept.
    """
    objects: dict[int, Record] = {}
    for result in results:
        for i, object_id in enumerate(result.object_ids):
            entry = objects.setdefault(
                object_id,
                {
                    "id": object_id,
                    "name": (names or {}).get(object_id, ""),
                    "prompt_frame": None,
                    "frames": [],
                    "area": [],
                    "iou_score": [],
                    "presence": [],
                },
            )
            entry["frames"].append(result.frame_index)
            entry["area"].append(round(float(result.masks[i].mean()), 6))
            entry["iou_score"].append(round(float(result.iou_scores[i]), 5))
            entry["presence"].append(round(float(result.presence[i]), 5))
    sequence = {"name": name, "objects": list(objects.values())}
    return {"name": name, "kind": "tracking", "sequences": [sequence], "problems": []}


# --- csv -----------------------------------------------------------------------

CSV_COLUMNS = (
    *("run", "kind", "model", "config", "image_size", "efp", "prompts", "level", "sequence"),
    *("object", "class", "name", "convention", *SCORES),
    *("challenge_iou", "isi_iou", "mean_class_iou", "frames", "fps", "peak_memory_mb"),
)


def render_csv(results: Record) -> str:
    """One line per run and convention, and per sequence, class and object of it.

    `level` says which; scores are in 0..1, an empty cell is not defined.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for run in results["runs"]:
        if "overall" not in run:
            continue
        speed = run.get("speed") or {}
        base = {
            "run": run["name"],
            **{k: run.get(k) for k in ("kind", "model", "config", "image_size", "efp", "prompts")},
        }
        for convention in (c.name for c in CONVENTIONS):
            line = {**base, "convention": convention}
            writer.writerow(
                _cells(line, "overall", run["overall"][convention], run["class_iou"])
                | {"fps": speed.get("fps"), "peak_memory_mb": speed.get("peak_memory_mb")}
            )
            for row in run.get("classes") or []:
                facts = {"class": row["id"], "name": row["name"]}
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
    ious = {key: (class_iou or {}).get(key) for key, _ in CLASS_SCORES}
    return (
        {**line, "level": level, "frames": scores["frames"]}
        | ious
        | {key: scores[key] for key in SCORES}
    )


# --- html ----------------------------------------------------------------------


def render_html(results: Record) -> str:
    """The page as text."""
    runs = results["runs"]
    scored = [run for run in runs if "overall" in run]
    parts = [_head(results, scored)]
    if scored:
        parts += [
            _accuracy(results, scored),
            _problems(scored),
            _speed(scored),
            _per_sequence(scored),
            _per_class(scored),
        ]
    else:
        parts.append(_problems(runs))
    parts += [_courses(runs), _estimates(scored), _worst(runs), _notes(results)]
    template = Path(__file__).with_name("report_template.html").read_text(encoding="utf-8")
    colours = "\n".join(
        f"polyline.run-{i} {{ stroke: var(--c{i}); }} "
        f"circle.run-{i}, .key.run-{i} {{ fill: var(--c{i}); background: var(--c{i}); }}"
        for i in range(COLOURS)
    )
    return Template(template).substitute(
        title=escape(results["title"]), run_colours=colours, body="\n".join(p for p in parts if p)
    )


def _head(results: Record, scored: Sequence[Record]) -> str:
    protocol, dataset = results.get("protocol") or {}, results.get("dataset") or {}
    facts = [protocol.get("title"), dataset.get("name"), results.get("created")]
    tiles = []
    models = [run for run in scored if run["kind"] != "baseline"]
    best = max(models, key=lambda r: _value(r, "davis", "J&F"), default=None)
    if best is not None and best["overall"]["davis"]["J&F"] is not None:
        title = ("J&F: " if len(models) == 1 else "best J&F: ") + _long_name(best)
        tiles.append((_percent(best["overall"]["davis"]["J&F"]), title))
    fast = [run for run in models if (run.get("speed") or {}).get("fps")]
    if fast:
        quick = max(fast, key=lambda r: r["speed"]["fps"])
        tiles.append((f"{quick['speed']['fps']:.1f}", f"FPS: {_long_name(quick)}"))
    for key in ("sequences", "objects", "frames"):
        if dataset.get(key) is not None:
            tiles.append((f"{dataset[key]:,}", f"annotated {key}" if key == "frames" else key))
    count = sum(len(problem["frames"]) or 1 for problem, _ in _merged_problems(scored))
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


def _accuracy(results: Record, scored: Sequence[Record]) -> str:
    first, second = CONVENTIONS
    over = "classes" if any(r["class_iou"]["over"] == "classes" for r in scored) else "objects"
    return (
        "<section><h2>Accuracy</h2>"
        f"{_accuracy_table(results, scored, first.name)}"
        f'<p class="note">J&amp;F, J, F and Dice in percent, mean over objects; {first.title}. '
        f"Challenge and ISI IoU over the {over} of each frame, no frame skipped. "
        '"vs baseline" is J&amp;F against the better of the trivial baselines; a tracker below '
        "them is not worth its cost. Memory is the peak of the GPU where there is one, otherwise "
        "of the whole process.</p>"
        f"<details><summary>The same with {second.title}</summary>"
        f"{_accuracy_table(results, scored, second.name)}</details></section>"
    )


def _accuracy_table(results: Record, scored: Sequence[Record], convention: str) -> str:
    has_classes = any(run["class_iou"]["mean_class_iou"] is not None for run in scored)
    ious = [c for c in CLASS_SCORES if has_classes or c[0] != "mean_class_iou"]
    baselines = [run for run in scored if run["kind"] == "baseline"]
    floor = max((_value(run, convention, "J&F") for run in baselines), default=None)
    timed = any(run.get("speed") for run in scored)
    head = ["", *SCORES, *(title for _, title in ious)]
    head += (["vs baseline"] if baselines else []) + (
        ["FPS", "ms/frame", "memory"] if timed else []
    )
    models = [run for run in scored if run["kind"] != "baseline"]
    best = {
        key: max((_value(run, convention, key) for run in models), default=-1) for key in SCORES
    }
    rows = []
    last_group: str | None = None
    for run in sorted(scored, key=_group_order):
        group = _group(run)
        if group != last_group:
            rows.append(f'<tr class="group"><td colspan="{len(head)}">{escape(group)}</td></tr>')
            last_group = group
        cells = [f'<td class="text">{_key(scored, run)}{escape(run["name"])}</td>']
        for key in SCORES:
            value = run["overall"][convention][key]
            mark = value is not None and run in models and len(models) > 1 and value == best[key]
            cells.append(f"{_tag('td', 'best' if mark else '')}{_percent(value)}</td>")
        cells += [f"<td>{_percent(run['class_iou'][key])}</td>" for key, _ in ious]
        if baselines:
            cells.append(f"<td>{_against(run, convention, floor)}</td>")
        if timed:
            cells += _speed_cells(run.get("speed"))
        rows.append(f"{_tag('tr', _row_css(run))}{''.join(cells)}</tr>")
    rows += _published(results, ious, baselines, timed)
    return _table(head, rows)


def _published(
    results: Record, ious: Sequence[tuple[str, str]], baselines: Sequence[Record], timed: bool
) -> list[str]:
    rows = []
    for entry in results.get("published") or []:
        cells = [
            f'<td class="text">{escape(entry["name"])}<br><span class="note">'
            f"{escape(entry['source'])}, {escape(entry['table'])}, page {entry['page']}</span></td>"
        ]
        cells += [f"<td>{_percent(entry['scores'].get(key))}</td>" for key in SCORES]
        cells += [f"<td>{_percent(entry['scores'].get(key))}</td>" for key, _ in ious]
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
    gain = 100 * (value - floor)
    css, note = ("up", "") if gain > 0 else ("down", " below")
    return f'<span class="{css}">{gain:+.1f}{note}</span>'


def _speed_cells(speed: Record | None) -> list[str]:
    if not speed:
        return ["<td></td>"] * 3
    memory = speed.get("peak_memory_mb")
    return [
        f"<td>{speed['fps']:.1f}</td>" if speed.get("fps") else "<td></td>",
        f"<td>{speed['median_ms']:.0f}</td>" if speed.get("median_ms") else "<td></td>",
        f"<td>{memory:,.0f} MB</td>" if memory else "<td></td>",
    ]


def _problems(runs: Sequence[Record]) -> str:
    rows = []
    for problem, names in _merged_problems(runs):
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
        f"{_table(head, rows, text={1, 3, 4, 5})}</section>"
    )


def _merged_problems(runs: Sequence[Record]) -> list[tuple[Record, list[str]]]:
    """Each problem once, with the names of its runs: a fault of the data is in all of them."""
    entries: dict[str, tuple[Record, list[str]]] = {}
    for run in runs:
        for problem in run.get("problems") or []:
            key = json.dumps(problem, sort_keys=True)
            entries.setdefault(key, (problem, []))[1].append(_long_name(run))
    return list(entries.values())


def _speed(scored: Sequence[Record]) -> str:
    points = [
        (
            _long_name(run),
            _css(scored, run),
            run["speed"]["fps"],
            run["overall"]["davis"]["J&F"],
        )
        for run in scored
        if (run.get("speed") or {}).get("fps") and run["overall"]["davis"]["J&F"] is not None
    ]
    if len(points) < 2:
        return ""
    chart = charts.scatter(points, x_title="frames per second", y_title="J&F")
    legend = _legend(scored, [run for run in scored if (run.get("speed") or {}).get("fps")])
    return (
        "<section><h2>Accuracy against speed</h2>"
        f'<div class="columns"><div style="flex:2 1 480px">{chart}</div><div>{legend}'
        '<p class="note">Further right is faster, higher is more accurate. Speed is the time '
        "inside the tracker, all objects of a frame together, after a warm-up; reading frames "
        "and scoring are not part of it.</p></div></div></section>"
    )


def _per_sequence(scored: Sequence[Record]) -> str:
    names = list(dict.fromkeys(s["name"] for run in scored for s in run["sequences"]))
    if len(names) < 2:
        return ""
    rows = []
    for run in sorted(scored, key=_group_order):
        values = {s["name"]: s["davis"]["J&F"] for s in run["sequences"]}
        label = _long_name(run)
        rows.append(
            f'{_tag("tr", _row_css(run))}<td class="text">{_key(scored, run)}{escape(label)}</td>'
            + "".join(_heat(values.get(name)) for name in names)
            + "</tr>"
        )
    return (
        "<section><h2>J&amp;F per sequence</h2>"
        f"{_table(['', *names], rows)}"
        '<p class="note">Mean over the objects of each sequence, first and last frame '
        "skipped.</p></section>"
    )


def _per_class(scored: Sequence[Record]) -> str:
    with_classes = [run for run in scored if run.get("classes")]
    if not with_classes:
        return ""
    names = {c["id"]: c["name"] for run in with_classes for c in run["classes"]}
    rows = []
    for run in sorted(with_classes, key=_group_order):
        label = _long_name(run)
        for title, value in (
            ("J&F", lambda c: c["davis"]["J&F"]),
            ("class IoU", lambda c: c["IoU"]),
        ):
            values = {c["id"]: value(c) for c in run["classes"]}
            rows.append(
                f'<tr><td class="text">{_key(scored, run)}{escape(label)}</td>'
                f'<td class="text">{escape(title)}</td>'
                + "".join(_heat(values.get(i)) for i in sorted(names))
                + "</tr>"
            )
    return (
        "<section><h2>Per class</h2>"
        f"{_table(['', 'score', *(names[i] for i in sorted(names))], rows, text={1})}"
        '<p class="note">J&amp;F: mean over the objects of the class. Class IoU: mean over the '
        "frames where truth or prediction has the class.</p></section>"
    )


def _courses(runs: Sequence[Record]) -> str:
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
    return (
        f"<section><h2>{what} over time</h2>{_legend(runs, runs)}"
        '<p class="note">Shaded: the object is not visible in the truth. Dotted line: its '
        "prompt.</p>" + "".join(blocks) + "</section>"
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
    prompt = first.get("prompt_frame")
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
            charts.Line(_long_name(run), _css(runs, run), item["frames"], item[kind])
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


def _estimates(scored: Sequence[Record]) -> str:
    judged = [run for run in scored if run.get("estimates")]
    if not judged:
        return ""
    head = ["", "IoU error", "IoU bias", "correlation", "calibration error"]
    head += ["visible: precision / recall", "hidden: precision / recall", "AUROC"]
    oracle = any(run.get("oracle") for run in judged)
    head += ["chosen J", "oracle J"] if oracle else []
    rows, pictures = [], []
    for run in sorted(judged, key=_group_order):
        iou, presence = run["estimates"]["predicted_iou"], run["estimates"]["presence"]
        label = _long_name(run)
        cells = [
            _percent(iou.get("mean_absolute_error")),
            _percent(iou.get("bias"), sign=True),
            _plain(iou.get("correlation")),
            _percent(iou.get("expected_calibration_error")),
            " / ".join(_percent(presence.get(k)) for k in ("precision", "recall")),
            " / ".join(_percent(presence.get(k)) for k in ("hidden_precision", "hidden_recall")),
            _plain(presence.get("auroc")),
        ]
        if oracle:
            gap = run.get("oracle") or {}
            cells += [_percent(gap.get("chosen_j")), _percent(gap.get("oracle_j"))]
        rows.append(
            f'<tr><td class="text">{_key(scored, run)}{escape(label)}</td>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
        if iou.get("bins"):
            pictures.append(
                f'<figure style="width:220px">{charts.reliability(iou["bins"], _css(scored, run))}'
                f"<figcaption>{escape(label)}</figcaption></figure>"
            )
    return (
        "<section><h2>The model's own estimates</h2>"
        f"{_table(head, rows)}"
        '<p class="note">On the frames after each object\'s prompt. IoU error is the mean distance '
        "of predicted and true IoU; a positive bias is over-confidence. Hidden precision and "
        "recall are about frames where the object is not visible; AUROC 0.5 is chance. In the "
        "plots a calibrated model lies on the diagonal.</p>"
        f'<div class="columns" style="justify-content:flex-start">{"".join(pictures)}</div>'
        "</section>"
    )


def _worst(runs: Sequence[Record]) -> str:
    blocks: list[str] = []
    for run in runs:
        figures = []
        for moment in run.get("worst") or []:
            if not moment.get("jpeg"):
                continue
            data = base64.b64encode(moment["jpeg"]).decode("ascii")
            name = moment["name"] or f"object {moment['object']}"
            text = f"{moment['sequence']}, frame {moment['frame']}, {name}"
            figures.append(
                f'<figure><img src="data:image/jpeg;base64,{data}" alt="{escape(text)}">'
                f"<figcaption>{escape(text)}<br>"
                f'<span class="soft">J {_percent(moment["J"])} · F {_percent(moment["F"])}</span>'
                "</figcaption></figure>"
            )
        if figures:
            label = _long_name(run)
            blocks.append(
                f"<details{'' if blocks else ' open'}><summary>{escape(label)}</summary>"
                f'<div class="thumbs">{"".join(figures)}</div></details>'
            )
    if not blocks:
        return ""
    return (
        "<section><h2>Worst frames</h2>"
        '<p class="note">The worst frame of each object. Orange: the prediction. Green outline: '
        "the truth.</p>" + "".join(blocks) + "</section>"
    )


def _notes(results: Record) -> str:
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


def _table(head: Sequence[str], rows: Sequence[str], text: set[int] | None = None) -> str:
    cells = "".join(
        f"{_tag('th', 'text' if i in (text or set()) else '')}{escape(t)}</th>"
        for i, t in enumerate(head)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _tag(name: str, css: str = "") -> str:
    """An opening tag with its class."""
    return f'<{name} class="{css}">' if css else f"<{name}>"


def _row_css(run: Record) -> str:
    return "baseline" if run["kind"] == "baseline" else ""


def _legend(runs: Sequence[Record], shown: Sequence[Record]) -> str:
    items = "".join(f"<span>{_key(runs, run)}{escape(_long_name(run))}</span>" for run in shown)
    return f'<div class="legend">{items}</div>'


def _css(runs: Sequence[Record], run: Record) -> str:
    if run["kind"] == "baseline":
        return "baseline flow" if "flow" in run["name"] else "baseline"
    index = [r["name"] + str(r.get("prompts")) for r in runs if r["kind"] != "baseline"].index(
        run["name"] + str(run.get("prompts"))
    )
    return f"run-{index % COLOURS}" + (" second" if index >= COLOURS else "")


def _key(runs: Sequence[Record], run: Record) -> str:
    return f'<span class="key {_css(runs, run)}"></span>'


def _group(run: Record) -> str:
    if run["kind"] == "baseline":
        return "trivial baselines"
    prompts = run.get("prompts")
    return f"prompt: {TITLES.get(prompts, prompts)}" if prompts else "predictions"


def _long_name(run: Record) -> str:
    prompts = run.get("prompts")
    return f"{run['name']}, {TITLES.get(prompts, prompts)}" if prompts else str(run["name"])


def _group_order(run: Record) -> int:
    if run["kind"] == "baseline":
        return len(TITLES) + 1
    order = list(TITLES)
    return order.index(run["prompts"]) if run.get("prompts") in order else len(order)


def _value(run: Record, convention: str, key: str) -> float:
    value = run["overall"][convention][key]
    return -1.0 if value is None else float(value)


def _heat(value: float | None) -> str:
    if value is None:
        return "<td></td>"
    hue = round(8 + 132 * min(max((value - 0.3) / 0.65, 0), 1))
    return f'<td style="background:hsl({hue} 60% 50% / 0.18)">{_percent(value)}</td>'


def _percent(value: float | None, sign: bool = False) -> str:
    if value is None:
        return "&ndash;"
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def _plain(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.2f}"
