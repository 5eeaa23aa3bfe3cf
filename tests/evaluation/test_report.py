"""The three files of a report are complete, self-contained and safe for any names."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from surgsam2.errors import OutputError
from surgsam2.evaluation.metrics.conventions import CONVENTIONS
from surgsam2.evaluation.report import (
    charts,
    render_csv,
    render_html,
    report_folder,
    summary_text,
    tracking_record,
    write_report,
)
from surgsam2.evaluation.report.page import css_of
from surgsam2.evaluation.runner import evaluate_predictions
from surgsam2.results.frame_result import FrameResult

from .conftest import moving_labels, save_indexed

VOID = {"meta", "link", "img", "br"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Checker(HTMLParser):
    """Parser that checks that tags are balanced and collects every address the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert all(address.startswith("data:") for address in checker.addresses)
    assert "script" not in checker.tags
    assert not re.search(r"https?://|url\(|@import", page)
    return checker


@pytest.fixture
def results(a_vos_dataset: Path, tmp_path: Path) -> dict:
    """Results of the baselines and of two folders of predictions, of which one is wrong."""
    for name, shift in (("good", 1), ("bad <b>&", 9)):
        for index in range(6):
            labels = np.roll(moving_labels(index), shift, axis=1)
            save_indexed(labels, tmp_path / name / "clip" / f"{index:05d}.png")
    (tmp_path / "bad <b>&" / "clip" / "00003.png").unlink()
    return evaluate_predictions([tmp_path / "good", tmp_path / "bad <b>&"], a_vos_dataset)


def test_files_are_complete(results, tmp_path):
    paths = write_report(results, str(tmp_path / "new" / "out"))
    loaded = json.loads(paths["json"].read_text())
    assert [run["name"] for run in loaded["runs"]][:2] == ["good", "bad <b>&"]
    assert all("jpeg" not in worst for run in loaded["runs"] for worst in run["worst"])
    assert loaded["runs"][0]["overall"] == results["runs"][0]["overall"]
    assert str(tmp_path) not in paths["json"].read_text(), "no machine's paths in a result"


def test_page_is_self_contained(results):
    page = render_html(results)
    checker = check_page(page)
    assert {"svg", "table", "img", "figure"} <= checker.tags
    assert "bad &lt;b&gt;&amp;" in page
    assert "<b>&" not in page
    assert "<b>1</b><span>sequence</span>" in page
    for text in ("missing-frame", "first mask copied", "Challenge IoU", "00003", "vs baseline"):
        assert text in page


def test_csv_has_a_line_per_level(results):
    rows = list(csv.DictReader(io.StringIO(render_csv(results))))
    good = [r for r in rows if r["run"] == "good" and r["convention"] == "davis"]
    assert [r["level"] for r in good] == ["overall", "sequence", "object", "object"]
    assert float(good[0]["J&F"]) == pytest.approx(results["runs"][0]["overall"]["davis"]["J&F"])
    assert {r["object"] for r in good[2:]} == {"1", "2"}


def test_names_in_the_csv_are_no_formulas(results):
    results["runs"][0]["name"] = "=HYPERLINK(1)"
    results["runs"][0]["sequences"][0]["name"] = "@clip"
    rows = list(csv.DictReader(io.StringIO(render_csv(results))))
    assert rows[0]["run"] == "'=HYPERLINK(1)"
    assert "'@clip" in {row["sequence"] for row in rows}
    assert not [row for row in rows if row["run"].startswith("=")]


def test_published_rows_show_their_source(results):
    results["published"] = [
        {
            "name": "some tracker, 1 point",
            "source": "arXiv 0000.00000v1",
            "table": "Table 9",
            "page": 7,
            "scores": {"J&F": 0.5},
        }
    ]
    page = render_html(results)
    check_page(page)
    assert "arXiv 0000.00000v1, Table 9, page 7" in page


def test_a_tracked_video_without_truth_has_a_page_too(tmp_path):
    frames = (
        FrameResult(
            index, (1, 2), np.stack([moving_labels(index) == i for i in (1, 2)]),
            np.array([0.9, 0.5], np.float32), np.array([1, 0.2], np.float32),
        )
        for index in range(5)
    )  # fmt: skip
    record = tracking_record("my video", frames, {1: "gallbladder"})
    paths = write_report({"title": "Review", "runs": [record]}, tmp_path)
    page = paths["html"].read_text()
    check_page(page)
    assert "gallbladder" in page
    assert "area" in page
    assert "Accuracy" not in page


def test_unwritable_folder_is_one_line(results, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(results, tmp_path / "file" / "out")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_page_opens_without_a_console_message(results, tmp_path):
    page = write_report(results, tmp_path)["html"]
    shot = tmp_path / "shot.png"
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         "--host-resolver-rules=MAP * ~NOTFOUND", f"--screenshot={shot}", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert shot.stat().st_size > 10_000


def test_long_courses_are_thinned_but_keep_their_dips():
    values = [1.0] * 5000
    values[2503] = 0.0
    svg = charts.course([charts.Line("a", "run-0", range(5000), values)])
    points = re.findall(r"[\d.]+,([\d.]+)", svg)
    assert len(points) <= charts.MAX_POINTS
    assert len(set(points)) == 2
    assert "2000" in svg


def test_gaps_break_a_line():
    svg = charts.course([charts.Line("a", "run-0", range(5), [1, None, 0.5, 0.4, None])])
    assert svg.count("<polyline") == 2
    assert charts.course([]).startswith("<svg")


def test_a_name_that_is_not_utf8_is_written_with_replacement_characters(results, tmp_path):
    results["runs"][0]["sequences"][0]["name"] = "clip\udcff"
    for path in write_report(results, tmp_path / "out").values():
        assert "clip\ufffd" in path.read_text(encoding="utf-8")


def test_csv_has_the_iou_of_each_class(a_vos_dataset):
    results = evaluate_predictions(
        [a_vos_dataset / "Annotations"], a_vos_dataset, protocol="endovis18", sequences=["clip"],
        values="classes", baselines=["copy"],
    )  # fmt: skip
    rows = [
        row
        for row in csv.DictReader(io.StringIO(render_csv(results)))
        if row["level"] == "class" and row["kind"] == "predictions"
    ]
    assert {row["class"]: float(row["class_iou"]) for row in rows} == {"1": 1.0, "2": 1.0}


def test_the_headline_convention_comes_first_everywhere(results):
    names = [c.name for c in CONVENTIONS]
    for headline in names:
        results["convention"] = headline
        title = next(c.title for c in CONVENTIONS if c.name == headline)
        assert summary_text(results).splitlines()[0] == f"in percent; {title}"
        page = render_html(results)
        check_page(page)
        assert f"mean over objects; {title}." in html.unescape(page)
        assert page.count("The same: ") == len(names) - 1
        rows = list(csv.DictReader(io.StringIO(render_csv(results))))
        assert rows[0]["convention"] == headline
        assert {row["convention"] for row in rows} == set(names)


def test_a_tie_with_the_baselines_is_no_loss(results):
    model, *_, baseline = results["runs"]
    for run, value in ((model, 0.50001), (baseline, 0.50004)):
        run["overall"]["davis"]["J&F"] = value
    page = render_html({**results, "runs": [model, baseline]})
    assert ">0.0 equal<" in page
    assert "0.0 below" not in page


def test_predictions_are_not_said_to_be_prompted(results):
    page = render_html(results)
    for text in ("prompted", "Dotted line"):
        assert text not in page


def test_runs_of_one_name_have_their_own_colours(results):
    first, second, *_ = results["runs"]
    second["name"] = first["name"]
    assert [css_of(results["runs"], run) for run in (first, second)] == ["run-0", "run-1"]


def test_memory_says_whose_it_is(results):
    run = results["runs"][0]
    run["speed"] = {"fps": 1.0, "median_ms": 2.0, "peak_memory_mb": 900.4, "memory_growth_mb": 30.2}
    run["speed"]["memory_of"] = "process"
    page = render_html(results)
    assert "900 MB (+30)" in page
    assert "peak of the whole process" in page


def test_report_folder_is_tried_and_leaves_nothing_after_a_failure(tmp_path):
    with pytest.raises(ZeroDivisionError), report_folder(tmp_path / "new" / "out"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with report_folder(tmp_path / "new" / "out"):
        assert list((tmp_path / "new" / "out").iterdir()) == []
    (tmp_path / "new" / "out" / "results.csv").mkdir()
    with pytest.raises(OutputError, match="it is a folder"), report_folder(tmp_path / "new/out"):
        pass
