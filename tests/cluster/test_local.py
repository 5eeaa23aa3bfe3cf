"""A list on processes of this machine: the same files as one by one, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.local import LocalExecutor
from surgsam2.cluster.options import ListOptions
from surgsam2.errors import CheckpointError, InputError
from surgsam2.job.datalist import FailedJobsError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage.places import Place
from tests.cluster.helpers import (
    CRASHES,
    SMALL,
    FragileWorker,
    files_of,
    jobs_of,
    local,
    serial,
    settings_for,
    write_list,
)

BROKEN = ("broken0", "deep/broken1")


@pytest.mark.parametrize(
    ("good", "broken", "kills", "retries"),
    [
        (2, 1, [signal.SIGTERM, signal.SIGKILL], 1),
        pytest.param(
            9, 2, [signal.SIGKILL, signal.SIGTERM] * 2 + [signal.SIGKILL], 3,
            marks=pytest.mark.nightly,
        ),
    ],
)  # fmt: skip
def test_killed_workers_and_drivers(
    a_model: SurgSAM2Model,
    demo_checkpoint: Path,
    small_config: Path,
    tmp_path: Path,
    good: int,
    broken: int,
    kills: list[int],
    retries: int,
) -> None:
    """Some videos are broken, one crashes, workers are killed, and the driver is stopped once."""
    whole, bad = [f"video{i}" for i in range(good)], BROKEN[:broken]
    path = write_list(tmp_path, [*whole[:1], *bad, CRASHES, *whole[1:]], bad)
    out, left = Place.of(tmp_path / "out"), list(kills)
    settings = settings_for(demo_checkpoint, small_config)
    options = ListOptions(chunk=5, retries=retries)
    executors: list[LocalExecutor] = []

    def start() -> LocalExecutor:
        executors.append(local(settings, 2, FragileWorker)())
        return executors[-1]

    def attempt(should_stop: Callable[[], bool]) -> None:
        segment_list(
            jobs_of(path, tmp_path / "out"), out, settings, options,
            executor=start, should_stop=should_stop,
        )  # fmt: skip

    def disturb() -> None:
        busy = list(executors[-1].processes.values())
        if busy and left and random.random() < 0.3:
            os.kill(random.choice(busy), left.pop())

    def stop_soon() -> bool:
        disturb()
        return len(left) < len(kills) and bool(list((tmp_path / "out").rglob("state.pt")))

    random = Random(0)
    with pytest.raises(KeyboardInterrupt):
        attempt(stop_soon)
    assert json.loads((tmp_path / "out/summary.json").read_text())["status"] == "interrupted"
    failed = f"{broken + 1} of {good + broken + 1} videos failed"
    with pytest.raises(FailedJobsError, match=failed):
        attempt(lambda: bool(disturb()))
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    states = {row["output"]: row["status"] for row in summary["videos"]}
    assert states == {
        **dict.fromkeys(whole, "complete"),
        **dict.fromkeys(bad, "failed"),
        CRASHES: "quarantined",
    }
    crashed = next(row for row in summary["videos"] if row["output"] == CRASHES)
    assert f"{retries + 1} workers were lost with it; its process was ended by" in crashed["error"]
    log = (tmp_path / "out/logs" / f"{CRASHES}.log").read_text()
    assert "signal 11 (SIGSEGV)" in log
    for name, files in serial(a_model, path, tmp_path / "serial").items():
        assert files_of(tmp_path / "out" / name) == files, name
        report = json.loads((tmp_path / "out" / name / "report.json").read_text())
        assert report["status"] == "complete"


def test_a_finished_list_starts_no_worker(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    path = write_list(tmp_path, ["a"])
    jobs, out = jobs_of(path, tmp_path / "out"), Place.of(tmp_path / "out")
    settings = settings_for(demo_checkpoint, small_config, formats=("csv",))
    segment_list(jobs, out, settings, SMALL, executor=local(settings, 1))
    told: list[str] = []

    def none() -> Any:
        raise AssertionError("a worker is started")

    summary = segment_list(jobs, out, settings, SMALL, executor=none, tell=told.append)
    assert summary["videos"] == [{"output": "a", "status": "complete", "frames": 11}]
    assert told == ["a: complete already, nothing to resume"]
    others = settings_for(demo_checkpoint, small_config, formats=("csv",), stop=4)
    with pytest.raises(InputError, match=r"out/a: it holds results of another run, with another"):
        segment_list(jobs, out, others, SMALL, executor=none)
    again = settings_for(demo_checkpoint, small_config, formats=("csv",), stop=4, overwrite=True)
    summary = segment_list(jobs, out, again, SMALL, executor=local(again, 1))
    assert summary["videos"][0]["frames"] == 3


def test_a_model_that_cannot_be_loaded(tmp_path: Path, small_config: Path) -> None:
    path = write_list(tmp_path, ["a"])
    weights = tmp_path / "none.pt"
    weights.write_bytes(b"no weights")
    settings = settings_for(weights, small_config)
    with pytest.raises(CheckpointError, match=r"none\.pt"):
        segment_list(jobs_of(path, tmp_path / "out"), Place.of(tmp_path / "out"), settings, SMALL)


def test_two_runs_of_one_list(demo_checkpoint: Path, small_config: Path, tmp_path: Path) -> None:
    """The second is refused while the first works."""
    path = write_list(tmp_path, ["a"])
    jobs, out = jobs_of(path, tmp_path / "out"), Place.of(tmp_path / "out")
    settings = settings_for(demo_checkpoint, small_config)
    refused = threading.Event()

    def second() -> bool:
        if not refused.is_set():
            with pytest.raises(OSError, match="another run of a list is under way there"):
                segment_list(jobs, out, settings, SMALL)
            refused.set()
        return False

    segment_list(jobs, out, settings, SMALL, executor=local(settings, 1), should_stop=second)
    assert refused.is_set()
