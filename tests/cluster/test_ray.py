"""A list on a Ray cluster of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.options import ListOptions
from surgsam2.errors import MissingDependencyError
from surgsam2.job.datalist import FailedJobsError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage.places import Place
from tests.cluster.helpers import (
    CRASHES,
    FragileWorker,
    files_of,
    jobs_of,
    serial,
    settings_for,
    write_list,
)


def test_without_ray(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    settings, options = settings_for(demo_checkpoint, small_config), ListOptions(executor="ray")
    jobs = jobs_of(write_list(tmp_path, ["a"]), tmp_path / "out")
    with pytest.raises(MissingDependencyError, match=r"pip install 'surgsam2\[cluster\]'"):
        segment_list(jobs, Place.of(tmp_path / "out"), settings, options)


@pytest.mark.nightly
def test_workers_that_are_lost(
    a_model: SurgSAM2Model, demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    from surgsam2.cluster.ray_executor import RayExecutor

    good = [f"video{i}" for i in range(4)]
    path = write_list(tmp_path, [*good[:2], "broken0", CRASHES, *good[2:]], ("broken0",))
    out, settings = Place.of(tmp_path / "out"), settings_for(demo_checkpoint, small_config)
    options = ListOptions(executor="ray", chunk=5, workers=2, retries=1)
    started: list[Any] = []
    kills = [signal.SIGTERM, signal.SIGKILL]

    def start() -> RayExecutor:
        started.append(RayExecutor(settings, options, FragileWorker))
        return started[-1]

    def disturb() -> bool:
        for number in list(started[-1].processes.values())[:1] if kills and started else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, kills[-1])
                kills.pop()
        return False

    with pytest.raises(FailedJobsError, match="2 of 6 videos failed"):
        segment_list(
            jobs_of(path, tmp_path / "out"), out, settings, options,
            executor=start, should_stop=disturb,
        )  # fmt: skip
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    states = {row["output"]: row["status"] for row in summary["videos"]}
    assert states == {
        **dict.fromkeys(good, "complete"), "broken0": "failed", CRASHES: "quarantined",
    }  # fmt: skip
    assert not kills
    for name, files in serial(a_model, path, tmp_path / "serial").items():
        assert files_of(tmp_path / "out" / name) == files, name
