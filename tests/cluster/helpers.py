"""Lists of short videos, workers that fail on purpose, and what is compared."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surgsam2 import open_video
from surgsam2.cluster.executor import WorkerPlan
from surgsam2.cluster.local import LocalExecutor
from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.tasks import Outcome, Settings, Task
from surgsam2.cluster.worker import ShouldStop, Worker
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.job.datalist import VideoJob, read_datalist
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import load_prompts, save_prompts
from tests.reliability.conftest import FORMATS, contents, prompts_for_two, write_short_file

BROKEN = ("broken0", "broken1")
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


SMALL = ListOptions(chunk=5)


def serial(model: SurgSAM2Model, path: Path, out: Path) -> dict[str, dict[str, bytes]]:
    """The files of each good video, written by one run after the other."""
    found = {}
    for job in jobs_of(path, out):
        if job.output.name in (CRASHES, *BROKEN):
            continue
        with open_video(job.video.path) as video:
            prompts = load_prompts(job.prompts.path)
            options = JobOptions(formats=FORMATS)
            segment_to_folder(model, video, prompts, job.output.path, options)
        found[job.output.name] = contents(job.output.path)
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    """All files but the manifest."""
    found = contents(folder)
    found.pop(".manifest.json")
    return found
