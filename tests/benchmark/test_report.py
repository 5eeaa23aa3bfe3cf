"""Files of a benchmark, and refusals of the command `surgsam2 benchmark`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from surgsam2.benchmark.report import read_record, render_page, write_benchmark
from surgsam2.cli import main
from surgsam2.errors import InputError
from surgsam2.evaluation.report.charts import grouped_bars, stacked_bars


def test_the_files(a_record: dict[str, Any], tmp_path: Path) -> None:
    page = write_benchmark(a_record, tmp_path / "out")
    assert page.name == "performance.md"
    assert read_record(tmp_path / "out" / "benchmark.json") == a_record
    text = page.read_text(encoding="utf-8")
    for name in ("speed.svg", "stages.svg"):
        assert f"(performance/{name})" in text
        ElementTree.parse(tmp_path / "out" / "performance" / name)


def test_the_page_holds_the_figures(a_record: dict[str, Any]) -> None:
    text = render_page(a_record, "plots")
    ours, sam2 = a_record["runs"][1], a_record["runs"][2]
    assert f"{ours['fps']:.2f}" in text
    assert f"{ours['fps'] / sam2['fps']:.2f}" in text
    assert a_record["machine"]["processor"] in text
    assert "2 objects" in text
    assert f"{a_record['agreement'][0]['lowest_iou']:.4f}" in text


def test_a_further_object_beside_the_first(a_record: dict[str, Any]) -> None:
    record = json.loads(json.dumps(a_record))
    for run, cpu in zip(record["runs"], (100.0, 130.0, *[1.0] * 4), strict=True):
        run["cpu_ms"] = cpu
    assert "| 30 % |" in render_page(record, "plots")


def test_bars_are_as_long_as_their_values() -> None:
    svg = ElementTree.fromstring(grouped_bars({"a": {"x": 2.0, "y": 1.0}}, "FPS"))
    lengths = [float(bar.get("width", 0)) for bar in svg.iter() if bar.get("height") == "19"]
    assert lengths[0] == pytest.approx(2 * lengths[1])


def test_stacked_bars_add_up() -> None:
    svg = stacked_bars({"one <frame>": {"x": 2.0, "y": 1.5}}, "ms")
    bars = [bar for bar in ElementTree.fromstring(svg).iter() if bar.get("height") == "19"]
    start, length = float(bars[0].get("x", 0)), float(bars[0].get("width", 0))
    assert float(bars[1].get("x", 0)) == pytest.approx(start + length, abs=0.2)
    assert "3.5 ms" in svg
    assert "one &lt;frame&gt;" in svg


def test_large_numbers_are_written_out() -> None:
    assert "2450 ms" in stacked_bars({"a": {"x": 2000.0, "y": 450.4}}, "ms")


def test_the_page_of_an_earlier_record(
    a_record: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_benchmark(a_record, tmp_path / "first")
    record = str(tmp_path / "first" / "benchmark.json")
    assert main(["benchmark", "--record", record, "--output", str(tmp_path / "again")]) == 0
    first, again = ((tmp_path / n / "performance.md").read_bytes() for n in ("first", "again"))
    assert first == again
    assert "# Performance" in capsys.readouterr().out


def test_records_that_hold_no_rates_are_refused(a_record: dict[str, Any], tmp_path: Path) -> None:
    runs = [{k: v for k, v in run.items() if k != "rates"} for run in a_record["runs"]]
    for record in ({**a_record, "runs": runs}, {**a_record, "runs": []}):
        (tmp_path / "benchmark.json").write_text(json.dumps(record))
        with pytest.raises(InputError, match=r"is not a benchmark.json of"):
            read_record(tmp_path / "benchmark.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objects", "1,two"], "--objects takes whole numbers like 1,2,4, got '1,two'"),
        (["--size", "720p"], "--size takes WIDTHxHEIGHT like 1280x720, got '720p'"),
        (["--objects", "0,1"], "--objects takes numbers from 1, got '0,1'"),
        (["--baseline", "sam2=x"], "--baseline takes whole numbers"),
        (["--config", "nothing", "--baseline", "none"], "unknown config 'nothing'"),
        (["--record", "missing.json"], "missing.json: the record cannot be read"),
    ],
)
def test_refusals_of_the_command(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "--output", "out", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text",
    [
        "[]", "7", '{"runs": []}', '{"kind": "surgsam2 benchmark", "runs": 7}',
        '{"kind": "surgsam2 benchmark", "runs": [7]}',
        '{"kind": "surgsam2 benchmark", "runs": {"rates": {}}}',
        '{"kind": "surgsam2 benchmark", "runs": [{"rates": {}}]}',
        '{"kind": "surgsam2 benchmark", "runs": [{"rates": {}, "subject": []}], "machine": {}}',
    ],
)  # fmt: skip
def test_another_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"other\.json is not a benchmark\.json"):
        read_record(path)
