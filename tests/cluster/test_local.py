"""A list on processes of this machine: the same files as one by one, whatever is killed."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from surgsam2.cluster.driver import segment_list
from surgsam2.errors import CheckpointError, InputError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage.places import Place
from tests.cluster.disturbed import Kill, check_a_disturbed_list
from tests.cluster.helpers import (
    SMALL,
    PreemptedWorker,
    check_preemption,
    jobs_of,
    local,
    settings_for,
    write_list,
)

SIGKILL: int = getattr(signal, "SIGKILL", 0)
KILL, TERM = ("worker", SIGKILL), ("worker", int(signal.SIGTERM))
DRIVER = ("driver", SIGKILL)
needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows ends a process that gets a signal, and has no SIGKILL"
)


@needs_signals
@pytest.mark.parametrize(
    ("good", "broken", "kills", "retries"),
    [
        (2, 1, [TERM, DRIVER, KILL], 1),
        pytest.param(
            9, 2, [KILL, TERM, DRIVER, KILL, TERM, KILL], 3, marks=pytest.mark.nightly
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
    kills: list[Kill],
    retries: int,
) -> None:
    """Some videos are broken, one crashes, workers are killed, and the driver is killed once."""
    check_a_disturbed_list(
        a_model, [str(demo_checkpoint), str(small_config)], tmp_path, good, broken, kills, retries
    )


@needs_signals
def test_a_worker_that_is_preempted(
    a_model: SurgSAM2Model, demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    settings = settings_for(demo_checkpoint, small_config)
    check_preemption(a_model, settings, tmp_path, local(settings, 1, PreemptedWorker))


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
