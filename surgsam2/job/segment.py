"""Segment a video into a folder: from the checks before to the report after."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from surgsam2.errors import DeviceError, OutputError
from surgsam2.job.checkpoint import CheckpointStore
from surgsam2.job.fingerprint import check_same
from surgsam2.job.options import JobOptions
from surgsam2.job.report import make_report
from surgsam2.job.run import Attempt
from surgsam2.job.task import Task
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import INCOMPLETE, begin_output, finish_output, hold_output, write_report
from surgsam2.prompts import PromptSet
from surgsam2.storage.hashing import Fingerprints
from surgsam2.video import Video

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]
"""Called after every tracked frame: frames done, frames in all, seconds since the start."""


def segment_to_folder(
    model: SurgSAM2Model,
    video: Video,
    prompts: PromptSet,
    folder: Path | str,
    options: JobOptions | None = None,
    *,
    progress: Progress = lambda done, total, seconds: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Segment a video into a folder.

    What can be checked is checked before the folder is touched. Files are written as
    frames arrive; while the run goes on, and after one that failed or was stopped, the
    folder has a file `INCOMPLETE`, and what was written before is valid. The folder is
    held meanwhile: a second run into it is refused.

    With `JobOptions.resume`, a run that was stopped or killed goes on from its last saved
    state, and the files become those of a run without interruption. A video that is not a
    file or folder (an array) has no identity to check, so its runs cannot be resumed.

    Args:
        progress: called after every tracked frame.
        should_stop: asked after every tracked frame; true ends the run as `interrupted`.

    Returns:
        The report, as in `report.json`. Its `status` is `complete`, or `interrupted`
        after `should_stop` or a KeyboardInterrupt (which is not raised again). After a
        failure the file is written too, with the reason. When the run to be resumed was
        complete, its report, with `already_complete` added.

    Raises:
        PromptError, InputError, VideoError: bad input; or the run to be resumed is another.
        DeviceError: out of memory.
        OutputError: the folder cannot be written, or is being written by another run.
    """
    task = Task(model, video, prompts, folder, options or JobOptions())
    with (
        hold_output(folder, overwrite=task.options.overwrite) as output,
        Fingerprints(task.inputs) as fingerprints,
    ):
        store, saved = CheckpointStore(output), None
        if task.options.resume:
            identity = task.identity(fingerprints.results(wait=True))
            finished = _finished_report(output)
            if finished is not None:
                check_same(finished["identity"], identity, output)
                finish_output(output)  # a process killed at the very end leaves a rest
                return finished | {"already_complete": True}
            saved = store.load()
            if saved is not None:
                check_same(saved.identity, identity, output)
                logger.info("resuming after %d frames", saved.steps)
        elif store.exists():
            logger.warning("%s: an interrupted run is discarded; resume would go on", output)
        begin_output(output, keep=saved is not None)

        def on_step(steps: int, seconds: float) -> None:
            progress(steps, task.plan.steps, seconds)

        attempt = Attempt(task, output, saved, fingerprints, on_step, should_stop)
        return _conclude(task, attempt, output, fingerprints)


def _conclude(
    task: Task, attempt: Attempt, output: Path, fingerprints: Fingerprints
) -> dict[str, Any]:
    """Carry out the attempt; whatever comes of it, the folder gets a report."""
    failure: BaseException | None = None
    status = "complete"
    timings = attempt.timings
    try:
        attempt.carry_out()
    except KeyboardInterrupt:
        status = "interrupted"
    except (torch.OutOfMemoryError, MemoryError) as error:
        status = "failed: out of memory"
        failure = DeviceError(
            f"out of memory on {task.model.device} after {len(timings.tracker)} frames; free "
            "memory and resume, or use a smaller model or a 512-pixel config, fewer objects at a "
            "time, or another device"
        )
        failure.__cause__ = error
    except Exception as error:
        status, failure = f"failed: {error}", error
    summary = timings.summary()
    hashes = fingerprints.results(wait=status == "complete")
    report = make_report(
        task,
        status=status,
        timings=summary,
        resumed=attempt.resumed,
        hashes=hashes,
        identity=task.identity(hashes) if status == "complete" else None,
    )
    try:
        write_report(output, report)
    except OutputError as error:
        if failure is None:
            raise
        logger.error("%s", error)  # the disk that ended the run refuses the report too
    if failure is not None:
        raise failure
    if status == "complete":
        finish_output(output)
    logger.info("%s: %d frames", status, summary["frames"])
    return report


def _finished_report(output: Path) -> dict[str, Any] | None:
    """The report of a complete run; None when the folder does not hold one."""
    try:
        if (output / INCOMPLETE).exists():
            return None
        report = json.loads((output / "report.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    complete = isinstance(report, dict) and report.get("status") == "complete"
    return report if complete and isinstance(report.get("identity"), dict) else None
