"""The evaluation report as one HTML page that needs no network, script or other file.

This module prepares the values of each section; ``templates/report.html.jinja`` turns
them into HTML and escapes every text. A section without values is left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from surgsam2.evaluation.metrics.conventions import CLASS_SCORES, SCORES, Convention
from surgsam2.evaluation.metrics.returns import SCORES as RETURN_SCORES
from surgsam2.evaluation.prompting import TITLES
from surgsam2.evaluation.report import charts
from surgsam2.evaluation.report.record import Record, conventions_of

COLOURS = 8
"""Number of colours of runs; further runs use the same colours with another line style."""

MAX_NAMES = 12
"""Most names of frames that are listed per problem."""

_COURSES = {
    "J": "J: overlap with the truth, percent",
    "area": "area, percent of the image",
    "presence": "presence as the model estimates it, percent",
    "iou_score": "IoU as the model estimates it, percent",
}
"""Key of an object's values over the frames -> caption of their chart."""


@dataclass(frozen=True)
class RunView:
    """A run with its look, which is the same in every section."""

    record: Record
    css: str
    """CSS classes that give the run its colour."""

    @property
    def name(self) -> str:
        """Name of the run without its prompt setting."""
        return str(self.record["name"])

    @property
    def long_name(self) -> str:
        """Name of the run with its prompt setting."""
        prompts = self.record.get("prompts")
        return f"{self.name}, {TITLES.get(prompts, prompts)}" if prompts else self.name

    @property
    def is_baseline(self) -> bool:
        """Whether the run is a trivial baseline."""
        return bool(self.record["kind"] == "baseline")

    @property
    def group(self) -> str:
        """Heading above the rows of runs of this kind."""
        if self.is_baseline:
            return "trivial baselines"
        prompts = self.record.get("prompts")
        return f"prompt: {TITLES.get(prompts, prompts)}" if prompts else "predictions"

    @property
    def order(self) -> int:
        """Sort key: prompt settings in their order, then predictions, then baselines."""
        if self.is_baseline:
            return len(TITLES) + 1
        settings = list(TITLES)
        prompts = self.record.get("prompts")
        return settings.index(prompts) if prompts in settings else len(settings)

    @property
    def speed(self) -> Mapping[str, Any]:
        """Speed and memory; empty where the run was not timed."""
        return self.record.get("speed") or {}

    def score(self, convention: Convention, key: str) -> float | None:
        """Return an overall score; None where it is not defined."""
        value: float | None = self.record["overall"][convention.name][key]
        return value

    def sequence_scores(self, convention: Convention) -> dict[str, float | None]:
        """Return sequence -> J&F."""
        return {s["name"]: s[convention.name]["J&F"] for s in self.record["sequences"]}

    def class_scores(self, convention: Convention) -> dict[str, dict[int, float | None]]:
        """Return title of a score -> class -> its value."""
        classes = self.record["classes"]
        return {
            "J&F": {c["id"]: c[convention.name]["J&F"] for c in classes},
            "class IoU": {c["id"]: c["IoU"] for c in classes},
        }


def render_html(results: Record) -> str:
    """Return the text of `report.html`.

    Args:
        results: What `runner.evaluate` returns, or any record with `title` and `runs`.
    """
    runs = [RunView(run, css_of(results["runs"], run)) for run in results["runs"]]
    scored = [run for run in runs if "overall" in run.record]
    first, *others = conventions_of(results)
    in_order = sorted(scored, key=lambda run: run.order)
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            results=results,
            runs=runs,
            scored=scored,
            in_order=in_order,
            convention=first,
            colours=range(COLOURS),
            facts=_title_facts(results),
            tiles=_tiles(results, scored, first),
            accuracy=[_accuracy(results, in_order, each) for each in (first, *others) if scored],
            over_classes=any(r.record["class_iou"]["over"] == "classes" for r in scored),
            memory_of={run.speed.get("memory_of") for run in scored},
            problems=_problems(runs),
            timed=[run for run in scored if run.speed.get("fps")],
            speed_chart=_speed_chart(scored, first),
            sequences=_sequence_names(scored),
            classes=_classes(in_order),
            courses=_courses(runs),
            prompted=_any_prompted(runs),
            returns=[run for run in in_order if run.record.get("returns")],
            return_scores=RETURN_SCORES,
            returns_chart=_returns_chart(in_order),
            estimates=[run for run in in_order if run.record.get("estimates")],
            has_oracle=any(run.record.get("oracle") for run in scored),
            worst=_worst(runs),
            notes={**(results.get("settings") or {}), **(results.get("environment") or {})},
            charts=charts,
        )
    )


def css_of(runs: Sequence[Record], run: Record) -> str:
    """Return the CSS classes of a run, whose colour is its place among the models of `runs`."""
    if run["kind"] == "baseline":
        return "baseline flow" if "flow" in run["name"] else "baseline"
    models = [other for other in runs if other["kind"] != "baseline"]
    index = next(i for i, other in enumerate(models) if other is run)
    return f"run-{index % COLOURS}" + (" second" if index >= COLOURS else "")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": _percent,
        "signed_percent": lambda value: _percent(value, sign=True),
        "decimal": lambda value: "\u2013" if value is None else f"{value:.2f}",
        "heat": _heat,
        "base64": lambda data: base64.b64encode(data).decode("ascii"),
        "svg": Markup,  # Charts escape their texts themselves.
    }
    return environment


def _percent(value: float | None, sign: bool = False) -> str:
    """Format a fraction in percent, and None as a dash."""
    if value is None:
        return "\u2013"
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def _heat(value: float) -> str:
    """Return the CSS background of a score in 0..1, from red to green."""
    hue = round(8 + 132 * min(max((value - 0.3) / 0.65, 0), 1))
    return f"background:hsl({hue} 60% 50% / 0.18)"


def _or_lowest(value: float | None) -> float:
    """Return a score for comparisons, in which one that is not defined is the lowest."""
    return -1.0 if value is None else float(value)


def _title_facts(results: Record) -> list[str]:
    protocol, dataset = results.get("protocol") or {}, results.get("dataset") or {}
    facts = (protocol.get("title"), dataset.get("name"), results.get("created"))
    return [str(fact) for fact in facts if fact]


def _tiles(
    results: Record, scored: Sequence[RunView], convention: Convention
) -> list[tuple[str, str]]:
    """Return the most important numbers, each with its title."""
    tiles = []
    models = [run for run in scored if not run.is_baseline]
    best = max(models, key=lambda run: _or_lowest(run.score(convention, "J&F")), default=None)
    if best is not None and (score := best.score(convention, "J&F")) is not None:
        title = ("J&F: " if len(models) == 1 else "best J&F: ") + best.long_name
        tiles.append((_percent(score), title))
    timed = [run for run in models if run.speed.get("fps")]
    if timed:
        fastest = max(timed, key=lambda run: float(run.speed["fps"]))
        tiles.append((f"{fastest.speed['fps']:.1f}", f"FPS: {fastest.long_name}"))
    dataset = results.get("dataset") or {}
    for key in ("sequences", "objects", "frames"):
        if dataset.get(key) is not None:
            noun = key.removesuffix("s") if dataset[key] == 1 else key
            tiles.append((f"{dataset[key]:,}", f"annotated {noun}" if key == "frames" else noun))
    if scored:
        count = sum(len(problem["frames"]) or 1 for problem in _problems(scored))
        tiles.append((str(count), "problems in the data"))
    return tiles


def _accuracy(
    results: Record, in_order: Sequence[RunView], convention: Convention
) -> dict[str, Any]:
    """Return the main table by one convention: columns, rows in groups, published results."""
    has_classes = any(run.record["class_iou"]["mean_class_iou"] is not None for run in in_order)
    ious = {k: t for k, t in CLASS_SCORES.items() if has_classes or k != "mean_class_iou"}
    baselines = [run for run in in_order if run.is_baseline]
    models = [run for run in in_order if not run.is_baseline]
    floor = max((_or_lowest(run.score(convention, "J&F")) for run in baselines), default=None)
    best = {}
    if len(models) > 1:
        best = {k: max(_or_lowest(run.score(convention, k)) for run in models) for k in SCORES}
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in in_order:
        scores = [run.score(convention, key) for key in SCORES]
        row = {
            "run": run,
            "scores": [
                (value, not run.is_baseline and value is not None and value == best.get(key))
                for key, value in zip(SCORES, scores, strict=True)
            ],
            "ious": [run.record["class_iou"][key] for key in ious],
            "gain": _gain(run, convention, floor),
        }
        groups.setdefault(run.group, []).append(row)
    return {
        "convention": convention,
        "score_titles": [*SCORES, *ious.values()],
        "has_baselines": bool(baselines),
        "timed": any(run.speed for run in in_order),
        "groups": groups,
        "published": [
            {**entry, "values": [entry["scores"].get(key) for key in (*SCORES, *ious)]}
            for entry in results.get("published") or []
        ],
    }


def _gain(run: RunView, convention: Convention, floor: float | None) -> tuple[str, str] | None:
    """Return the CSS class and text of J&F minus that of the better baseline, in percent."""
    value = run.score(convention, "J&F")
    if run.is_baseline or value is None or floor is None:
        return None
    gain = round(100 * (value - floor), 1)  # Rounded as shown, so that "0.0" is never a loss.
    if gain == 0:
        return "", "0.0 equal"
    return ("up", f"{gain:+.1f}") if gain > 0 else ("down", f"{gain:+.1f} below")


def _problems(runs: Sequence[RunView]) -> list[Record]:
    """Return each problem once, with the names of its runs; data faults are in every run."""
    found: dict[str, tuple[Record, list[str]]] = {}
    for run in runs:
        for problem in run.record.get("problems") or []:
            key = json.dumps(problem, sort_keys=True)
            found.setdefault(key, (problem, []))[1].append(run.long_name)
    return [
        {
            **problem,
            "shown": ", ".join(problem["frames"][:MAX_NAMES])
            + (", …" if len(problem["frames"]) > MAX_NAMES else ""),
            "where": "every run" if len(names) == len(runs) else ", ".join(names),
        }
        for problem, names in found.values()
    ]


def _speed_chart(scored: Sequence[RunView], convention: Convention) -> str:
    """Return accuracy against speed; empty with fewer than two runs of known speed."""
    points = [
        (run.long_name, run.css, run.speed["fps"], score)
        for run in scored
        if run.speed.get("fps") and (score := run.score(convention, "J&F")) is not None
    ]
    if len(points) < 2:
        return ""
    return charts.scatter(points, x_title="frames per second", y_title="J&F")


def _returns_chart(in_order: Sequence[RunView]) -> str:
    """Return J over the frames from the return on, mean over absences; empty without any."""
    lines = []
    for run in in_order:
        course = (run.record.get("returns") or {"overall": {"course": []}})["overall"]["course"]
        if course:
            lines.append(charts.Line(run.long_name, run.css, range(len(course)), course))
    lines.sort(key=lambda line: not line.css.startswith("baseline"))
    if not lines:
        return ""
    return charts.course(lines, label="J over the frames from the return on", height=220)


def _sequence_names(scored: Sequence[RunView]) -> list[str]:
    return list(dict.fromkeys(s["name"] for run in scored for s in run.record["sequences"]))


def _classes(in_order: Sequence[RunView]) -> dict[int, str]:
    """Return class -> name of all classes of all runs, ascending."""
    return dict(
        sorted((c["id"], c["name"]) for run in in_order for c in run.record.get("classes") or [])
    )


def _any_prompted(runs: Sequence[RunView]) -> bool:
    """Return whether a run was prompted. Of masks that already existed this is not known."""
    return any(run.record["kind"] == "model" for run in runs)


def _courses(runs: Sequence[RunView]) -> dict[str, list[dict[str, Any]]]:
    """Return sequence -> charts of each of its objects over the frames."""
    found: dict[str, dict[int, list[tuple[RunView, Record]]]] = {}
    for run in runs:
        for sequence in run.record["sequences"]:
            objects = found.setdefault(sequence["name"], {})
            for item in sequence["objects"]:
                objects.setdefault(item["id"], []).append((run, item))
    prompted = _any_prompted(runs)
    return {
        name: [_object_courses(object_id, items, prompted) for object_id, items in objects.items()]
        for name, objects in found.items()
    }


def _object_courses(
    object_id: int, items: Sequence[tuple[RunView, Record]], prompted: bool
) -> dict[str, Any]:
    first = items[0][1]
    title = f"object {object_id}" + (f": {first['name']}" if first.get("name") else "")
    prompt = first.get("prompt_frame") if prompted else None
    kinds = [kind for kind in _COURSES if any(item.get(kind) for _, item in items)]
    strips = []
    for kind in kinds:
        shown = [(run, item) for run, item in items if item.get(kind)]
        shown.sort(key=lambda entry: not entry[0].is_baseline)  # Models are drawn over baselines.
        chart = charts.course(
            [
                charts.Line(run.long_name, run.css, item["frames"], item[kind])
                for run, item in shown
            ],
            hidden=_hidden_stretches(first),
            marks=[] if prompt is None else [prompt],
            label=f"{title}, {_COURSES[kind]}",
            height=150 if kind == "J" else 84,
            x_axis=kind == kinds[-1],
        )
        strips.append((_COURSES[kind], chart))
    return {"title": title, "strips": strips}


def _hidden_stretches(item: Record) -> list[tuple[int, int]]:
    """Return stretches of annotated frames without the object, as (first, last) frame."""
    stretches: list[tuple[int, int]] = []
    was_hidden = False
    for frame, visible in zip(item["frames"], item.get("visible") or [], strict=False):
        if not visible:
            first = stretches.pop()[0] if was_hidden else frame
            stretches.append((first, frame))
        was_hidden = not visible
    return stretches


def _worst(runs: Sequence[RunView]) -> list[tuple[RunView, list[Record]]]:
    """Return the pictures of each run that has some."""
    found = []
    for run in runs:
        pictures = [
            {
                **entry,
                "text": f"{entry['sequence']}, frame {entry['frame']}, "
                + (entry["name"] or f"object {entry['object']}"),
            }
            for entry in run.record.get("worst") or []
            if entry.get("jpeg")
        ]
        if pictures:
            found.append((run, pictures))
    return found
