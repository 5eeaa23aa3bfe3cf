"""Lists of short videos, workers that fail on purpose, and what is compared."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surgsam2 import open_video
from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.executor import WorkerPlan
from surgsam2.cluster.local import LocalExecutor
from surgsam2.cluster.manifest import Manifests
from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.tasks import Ended, Event, Joined, Lost, Outcome, Settings, Task
from surgsam2.cluster.worker import ShouldStop, Worker
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.job.datalist import VideoJob, read_datalist
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import load_prompts, save_prompts
from surgsam2.storage.places import Place
from tests.reliability.conftest import FORMATS, contents, prompts_for_two, write_short_file

BROKEN = ("broken0", "deep/broken1")
CRASHES = "crashes"
"""A video of this output name ends the process that tracks it."""


class FragileWorker(Worker):
    """Ends its process, as compiled code would, at one video's second frame."""

    def perform(self, task: Task, should_stop: ShouldStop = lambda done: False) -> Outcome:
        def fatal(done: int) -> bool:
            if task.job.output.name == CRASHES and done == 2:
                os.kill(os.getpid(), signal.SIGSEGV)
            return should_stop(done)

        return super().perform(task, fatal)


class PreemptedWorker(Worker):
    """Gets SIGTERM after the third frame of a video."""

    def perform(self, task: Task, should_stop: ShouldStop = lambda done: False) -> Outcome:
        def preempt(done: int) -> bool:
            if task.kind == "track" and not task.chunks and done == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return should_stop(done)

        return super().perform(task, preempt)


def check_preemption(
    model: SurgSAM2Model, settings: Settings, folder: Path, executor: Callable[[], Any]
) -> None:
    """The frame is finished and kept, and no retry is used up: there is none.

    Args:
        model: the model of a serial run.
        settings: settings with the same model.
        folder: a folder for everything.
        executor: starts one `PreemptedWorker`.
    """
    path, out, seen = write_list(folder, ["a"]), folder / "out", set()

    def look() -> bool:
        manifest = Manifests().read(Place.of(out / "a"))
        if manifest is not None:
            seen.add(tuple(chunk.last for chunk in manifest.chunks))
        return False

    segment_list(
        jobs_of(path, out), Place.of(out), settings, ListOptions(chunk=9, retries=0),
        executor=executor, should_stop=look,
    )  # fmt: skip
    assert (3,) in seen
    assert seen <= {(3,), (3, 11), ()}
    assert "a worker was lost" not in (out / "logs" / "a.log").read_text()
    assert json.loads((out / "a" / "report.json").read_text())["resumed"] == 1
    assert files_of(out / "a") == serial(model, path, folder / "serial")["a"]


def write_list(folder: Path, names: list[str], broken: tuple[str, ...] = ()) -> Path:
    """Copies of one short video; a broken one is cut after its first bytes."""
    (folder / "in").mkdir(parents=True, exist_ok=True)
    whole = write_short_file(folder / "in" / "whole.mp4").read_bytes()
    save_prompts(prompts_for_two(), folder / "in" / "prompts.json")
    entries = []
    for number, name in enumerate(names):
        data = whole[:100] if name in broken else whole + b"\0\0\0\x09free" + bytes([number])
        (folder / "in" / f"{number}.mp4").write_bytes(data)
        entries.append({"video": f"in/{number}.mp4", "prompts": "in/prompts.json", "output": name})
    path = folder / "list.json"
    path.write_text(json.dumps(entries))
    return path


def jobs_of(path: Path, out: Path) -> list[VideoJob]:
    return read_datalist(path, out)


def settings_for(checkpoint: Path, config: Path, **options: Any) -> Settings:
    """The small model, with the formats of the reliability tests."""
    return Settings(
        ModelOptions(model=str(checkpoint), config=str(config), device="cpu"),
        JobOptions.from_mapping({"formats": FORMATS} | options),
    )


def local(settings: Settings, count: int, kind: type[Worker] = Worker) -> Callable[[], Any]:
    return lambda: LocalExecutor(settings, [WorkerPlan("cpu")] * count, kind)


class InThisProcess:
    """An executor whose one worker runs in the driver's process."""

    def __init__(self, settings: Settings, scratch: Path, stop_after: int = 0) -> None:
        self._worker = Worker(settings, scratch)
        self._events: list[Event] = [Joined("0", "here", "cpu", ("merge", "track"), 0)]
        self._left = stop_after

    def assign(self, worker: str, task: Task) -> None:
        outcome = self._worker.perform(task)
        self._left -= 1
        if self._left == 0:  # as if its machine had gone when all was done but told
            self._events += [Lost("0", "gone"), Joined("0", "here", "cpu", ("merge", "track"), 0)]
        else:
            self._events.append(Ended(worker, outcome))

    def poll(self, seconds: float) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stop(self) -> None: ...

    def close(self) -> None: ...


SMALL = ListOptions(chunk=5)


def serial(
    model: SurgSAM2Model, path: Path, out: Path, **options: Any
) -> dict[str, dict[str, bytes]]:
    """The files of each good video, written by one run after the other."""
    found = {}
    for job in jobs_of(path, out):
        if job.output.within(Place.of(out)) in (CRASHES, *BROKEN):
            continue
        with open_video(job.video.path) as video:
            prompts = load_prompts(job.prompts.path)
            chosen = JobOptions.from_mapping({"formats": FORMATS} | options)
            segment_to_folder(model, video, prompts, job.output.path, chosen)
        found[job.output.name] = contents(job.output.path)
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    """All files but the manifest."""
    found = contents(folder)
    found.pop(".manifest.json")
    return found
