"""A run over a list whose workers and driver are killed, in a process of its own, for tests.

    python -m tests.cluster.disturbed LIST OUT KILLS CHECKPOINT CONFIG RETRIES [ADDRESS]

KILLS is a JSON file with the kills that are left: pairs of a target, ``worker`` or ``driver``, and
the number of a signal. With ADDRESS the workers are actors of the Ray cluster there.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.executor import WorkerPlan
from surgsam2.cluster.local import LocalExecutor
from surgsam2.cluster.options import ListOptions
from surgsam2.job.datalist import FailedJobsError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage.places import Place
from tests.cluster.helpers import (
    BROKEN,
    CRASHES,
    FragileWorker,
    files_of,
    jobs_of,
    serial,
    settings_for,
    write_list,
)
from tests.conftest import REPOSITORY

WORKERS = 2
FAILED = 3
"""The exit code of a run in which some videos failed."""

Kill = tuple[str, int]


def run_to_the_end(arguments: list[str], kills: list[Kill], folder: Path) -> tuple[int, int]:
    """Run the command again after each kill of the driver; its exit code and number of runs."""
    left = folder / "kills.json"
    left.write_text(json.dumps(kills))
    path, out, *others = arguments
    command = [sys.executable, "-m", "tests.cluster.disturbed", path, out, str(left), *others]
    for runs in range(1, len(kills) + 2):
        code = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
        if code != -signal.SIGKILL:
            assert json.loads(left.read_text()) == []
            return code, runs
    raise AssertionError("the driver is killed too often")


def check_a_disturbed_list(
    model: SurgSAM2Model,
    weights: list[str],
    folder: Path,
    good: int,
    broken: int,
    kills: list[Kill],
    retries: int,
    address: str | None = None,
) -> None:
    """Some videos are broken, and one ends its workers; the files of the others are as of one run.

    Args:
        model: the model of the serial runs.
        weights: checkpoint and configuration of the same model.
        folder: a folder for everything.
        good: number of whole videos.
        broken: number of broken videos.
        kills: what is killed meanwhile, in order.
        retries: of the list.
        address: of a Ray cluster; None takes processes of this machine.
    """
    whole, bad = [f"video{i}" for i in range(good)], BROKEN[:broken]
    path = write_list(folder, [*whole[:1], *bad, CRASHES, *whole[1:]], bad)
    out = folder / "out"
    given = [str(path), str(out), *weights, str(retries), *([address] if address else [])]
    code, runs = run_to_the_end(given, kills, folder)
    assert (code, runs) == (FAILED, 1 + sum(target == "driver" for target, _ in kills))
    summary = json.loads((out / "summary.json").read_text())
    states = [(row["output"], row["status"]) for row in summary["videos"]]
    assert sorted(states) == sorted(
        [
            *((name, "complete") for name in whole),
            *((name, "failed") for name in bad),
            (CRASHES, "quarantined"),
        ]
    )
    crashed = next(row for row in summary["videos"] if row["output"] == CRASHES)
    assert f"{retries + 1} workers were lost with it; " in crashed["error"]
    log = (out / "logs" / f"{CRASHES}.log").read_text()
    assert log.count("a worker was lost") >= retries + 1
    if address is None:
        assert "signal 11 (SIGSEGV)" in log
    for name, files in serial(model, path, folder / "serial").items():
        assert files_of(out / name) == files, name
        report = json.loads((out / name / "report.json").read_text())
        assert report["status"] == "complete"


def main(path: str, out: str, kills: str, *given: str) -> int:
    """Do the run; the process may end before."""
    checkpoint, config, retries, *address = given
    settings = settings_for(Path(checkpoint), Path(config))
    options = ListOptions(
        executor="ray" if address else "local",
        address=address[0] if address else None,
        workers=WORKERS,
        chunk=5,
        retries=int(retries),
    )
    executors: list[Any] = []
    chance = random.Random(0)

    def start() -> Any:
        if address:
            from surgsam2.cluster.ray_executor import RayExecutor

            executors.append(RayExecutor(settings, options, FragileWorker))
        else:
            plans = [WorkerPlan("cpu")] * WORKERS
            executors.append(LocalExecutor(settings, plans, FragileWorker))
        return executors[-1]

    def disturb() -> bool:
        left = json.loads(Path(kills).read_text())
        busy = sorted(executors[-1].processes.values())
        begun = any(Path(out).rglob("state.pt"))
        if left and busy and begun and chance.random() < 0.4:
            target, number = left.pop(0)
            Path(kills).write_text(json.dumps(left))
            with contextlib.suppress(ProcessLookupError):
                os.kill(os.getpid() if target == "driver" else chance.choice(busy), number)
        return False

    try:
        segment_list(
            jobs_of(Path(path), Path(out)), Place.of(out), settings, options,
            executor=start, should_stop=disturb,
        )  # fmt: skip
    except FailedJobsError:
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
