"""What the summary of a list names and counts."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from surgsam2 import cli
from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.scheduler import KINDS, Scheduler
from surgsam2.cluster.summary import ListSummary, WorkerRow
from surgsam2.engine.remote.health import metrics_text
from surgsam2.errors import InputError
from surgsam2.job.datalist import FailedJobsError, read_datalist
from surgsam2.storage.places import Place
from tests.cluster.helpers import InThisProcess, settings_for, write_list


@pytest.mark.parametrize("folder", [".", "out", "/", "memory://bucket/out"])
def test_videos_have_the_names_of_the_list(folder: str, tmp_path: Path) -> None:
    names = ["one", "ward7/two"]
    jobs = read_datalist(write_list(tmp_path, names), folder)
    summary = ListSummary(Place.of(folder), jobs, Scheduler([1, 1]), (1, 1), keep_names=False)
    assert [summary.name(index) for index in range(2)] == names


def test_figures_for_prometheus(tmp_path: Path) -> None:
    jobs = read_datalist(write_list(tmp_path, ["a", "b"]), tmp_path / "out")
    scheduler = Scheduler([1, 1])
    summary = ListSummary(Place.of(tmp_path / "out"), jobs, scheduler, (1, 1), keep_names=False)
    summary.workers["0"] = WorkerRow("here", "cpu", video="a")
    summary.tracked = 12_345_678
    scheduler.failed(1, "no frames")
    lines = metrics_text(summary.metrics()).splitlines()
    assert "surgsam2_list_frames_total 12345678" in lines
    assert "# TYPE surgsam2_list_frames_total counter" in lines
    assert 'surgsam2_list_videos{state="failed"} 1' in lines
    assert 'surgsam2_list_videos{state="waiting"} 1' in lines
    assert "surgsam2_list_workers_busy 1" in lines
    assert len([line for line in lines if line.startswith("# HELP surgsam2_list_videos ")]) == 1


def test_the_line_of_progress_and_the_table_of_workers(tmp_path: Path) -> None:
    jobs = read_datalist(write_list(tmp_path, ["a", "b", "c"]), tmp_path / "out")
    scheduler = Scheduler([2, 1, 1])
    summary = ListSummary(Place.of(tmp_path / "out"), jobs, scheduler, (1, 1), keep_names=False)
    assert summary.line() == "0 of 3 videos complete, 0.0 frames/s"
    scheduler.complete(0)
    scheduler.failed(1, "no frames")
    scheduler.next_for(KINDS)
    assert re.fullmatch(
        r"1 of 3 videos complete, 1 running, 1 failed, 0\.0 frames/s, 0:00:00 left", summary.line()
    )
    summary.workers["0"] = WorkerRow("here", "cuda:0", frames=50, seconds=4, tasks=3, lost=1)
    summary.workers["1"] = WorkerRow("there", "cpu", video="c")
    rows = [line.split() for line in summary.table()]
    assert rows == [
        ["host", "device", "tasks", "lost", "frames", "frames/s", "video"],
        ["here", "cuda:0", "3", "1", "50", "12.5"],
        ["there", "cpu", "0", "0", "0", "0.0", "c"],
    ]


def test_metrics_and_logs_of_a_list_that_runs(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    path = write_list(tmp_path, ["a", "deep/broken1"], ("deep/broken1",))
    out, settings = Place.of(tmp_path / "out"), settings_for(demo_checkpoint, small_config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen: list[str] = []

    def look() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            seen.append(answer.read().decode())
        return False

    def run(port: int) -> None:
        options = ListOptions(metrics_port=port)
        segment_list(
            read_datalist(path, out), out, settings, options, should_stop=look,
            executor=lambda: InThisProcess(settings, tmp_path / "scratch"),
        )  # fmt: skip

    with pytest.raises(FailedJobsError):
        run(port)
    assert 'surgsam2_list_videos{state="waiting"} 2' in seen[0].splitlines()
    assert "surgsam2_list_frames_total 11" in seen[-1].splitlines()
    assert 'surgsam2_list_videos{state="complete"} 1' in seen[-1].splitlines()
    assert (tmp_path / "out/logs/deep/broken1.log").read_text().count("ERROR") == 1
    assert "complete: 11 frames" in (tmp_path / "out/logs/a.log").read_text()
    settings = settings_for(demo_checkpoint, small_config, overwrite=True, stop=4)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"^metrics_port {port}: "):
            run(port)


ROW = {"output": "a", "status": "complete"}
PART: dict[str, Any] = {
    "program": "surgsam2",
    "status": "complete",
    "videos": [ROW],
    "workers": [],
    "seconds": 1.0,
    "shard": [1, 2],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"videos": 7}, "'videos' in the content must be a list, got 7"),
        ({"videos": [7]}, "entry 0 of 'videos'"),
        ({"videos": [{"output": "a"}]}, "has no 'status'"),
        ({"videos": [ROW | {"status": []}]}, "'status' in entry 0"),
        ({"workers": None}, "'workers'"),
        ({"seconds": "a"}, "'seconds'"),
        ({"seconds": float("nan")}, "'seconds' in the content must be a number, got nan"),
        ({"status": {}}, "'status'"),
        ({"shard": 7}, "'shard'"),
        ({"shard": []}, "not a summary of a part"),
        ({"shard": [1, "a"]}, "entry 1 of 'shard'"),
        ({"shard": [1, 3]}, "its name is that of another part"),
        ({"shard": None}, "'shard'"),
        ({"program": "other"}, "not a summary of a part"),
        ({"shard": [1, 10**15]}, "part 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 of 1000000000000000 is"),
    ],
    ids=str,
)
def test_a_summary_of_another_shape_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    count = 10**15 if change.get("shard") == [1, 10**15] else 2
    path = tmp_path / f"summary-1-of-{count}.json"
    path.write_text(json.dumps(PART | change))
    assert cli.main(["merge", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "summary.json").exists()
