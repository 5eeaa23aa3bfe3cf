"""Which errors of a task another worker may overcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from surgsam2.cluster.tasks import Outcome, Settings, Task
from surgsam2.cluster.worker import ShouldStop, Worker
from surgsam2.errors import DeviceError, VideoError
from surgsam2.job.datalist import VideoJob
from surgsam2.storage.places import Place


class FailingWorker(Worker):
    """Raises an error in each task."""

    error: Exception

    def _track(self, task: Task, should_stop: ShouldStop) -> Outcome:
        raise self.error


@pytest.mark.parametrize(
    ("error", "is_lost", "told"),
    [
        (VideoError("the video: no frames"), False, "the video: no frames"),
        (DeviceError("the device is gone"), True, "the device is gone"),
        (MemoryError(), True, "out of memory on this machine; free memory"),
        (ZeroDivisionError("a bug"), True, "ZeroDivisionError: a bug"),
    ],
)
def test_errors(error: Exception, is_lost: bool, told: str, tmp_path: Path) -> None:
    worker = FailingWorker(Settings(), tmp_path)
    worker.error = error
    job = VideoJob(*(Place.of(tmp_path / name) for name in ("v.mp4", "p.json", "results")))
    outcome = worker.perform(Task(video=0, kind="track", job=job, folder="f", steps=1))
    assert outcome.is_lost == is_lost
    assert outcome.error.startswith(told)
    assert told in outcome.log
    assert ("Traceback" in outcome.log) == isinstance(error, ZeroDivisionError)
