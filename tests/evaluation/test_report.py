"""The three files: complete, self-contained, and safe against odd names."""

from __future__ import annotations

import csv
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
from surgsam2.evaluation import charts
from surgsam2.evaluation.report import render_csv, render_html, tracking_record, write_report
from surgsam2.evaluation.runner import evaluate_predictions
from surgsam2.results import FrameResult

from .conftest import moving_labels, save_indexed

VOID = {"meta", "link", "img", "br"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Checker(HTMLParser):
    """Balanced tags, and every address the page would load."""

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
    """Two folders of predictions beside the baselines; one of them is wrong in several ways."""
    for name, shift in (("good", 1), ("bad <b>&", 9)):
        for index in range(6):
            labels = np.roll(moving_labels(index), shift, axis=1)
            save_indexed(labels, tmp_path / name / "clip" / f"{index:05d}.png")
    (tmp_path / "bad <b>&" / "clip" / "00003.png").unlink()
    return evaluate_predictions([tmp_path / "good", tmp_path / "bad <b>&"], a_vos_dataset)


def test_files_are_complete(results, tmp_path):
    paths = write_report(results, tmp_path / "new" / "out")
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
    for text in ("missing-frame", "first mask copied", "Challenge IoU", "00003", "vs baseline"):
        assert text in page


def test_csv_has_a_line_per_level(results):
    rows = list(csv.DictReader(io.StringIO(render_csv(results))))
    good = [r for r in rows if r["run"] == "good" and r["convention"] == "davis"]
    assert [r["level"] for r in good] == ["overall", "sequence", "object", "object"]
    assert float(good[0]["J&F"]) == pytest.approx(results["runs"][0]["overall"]["davis"]["J&F"])
    assert {r["object"] for r in good[2:]} == {"1", "2"}


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
