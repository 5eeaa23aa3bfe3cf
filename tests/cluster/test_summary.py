"""What the summary of a list names and counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from surgsam2.cluster.scheduler import Scheduler
from surgsam2.cluster.summary import ListSummary, WorkerRow
from surgsam2.engine.remote.health import metrics_text
from surgsam2.job.datalist import read_datalist
from surgsam2.storage.places import Place
from tests.cluster.helpers import write_list


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
