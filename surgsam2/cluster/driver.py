"""Runs a list of videos: it gives tasks to workers and decides what counts."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from surgsam2.cluster.division import plan_splits
from surgsam2.cluster.executor import Executor
from surgsam2.cluster.manifest import (
    Manifest,
    Manifests,
    delete_chunks,
    job_key,
    prepare_place,
    refuse_occupied,
    settings_key,
)
from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.scheduler import FreeWorker, Piece, Scheduler, parts_of
from surgsam2.cluster.summary import ListSummary, WorkerRow, local_lock, summary_name
from surgsam2.cluster.tasks import Ended, Joined, Lost, Outcome, Progressed, Settings, Task
from surgsam2.errors import InputError, OutputError, SurgSAM2Error
from surgsam2.job.datalist import LOGS, FailedJobsError, VideoJob, hide_job_names, refuse_all
from surgsam2.job.fingerprint import differences
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.folder_lock import exclusive
from surgsam2.storage.output_folder import RESUME, refuse_link, refuse_links
from surgsam2.storage.places import Place
from surgsam2.storage.text import one_line

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_LINE_SECONDS = 10.0
_STOP_SECONDS = 60.0
"""Seconds that workers may take to end their present frame."""


def segment_list(
    jobs: Sequence[VideoJob],
    output_dir: Place,
    settings: Settings,
    options: ListOptions | None = None,
    *,
    executor: Callable[[], Executor] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Segment the videos of a list. The same call again goes on where the last one ended.

    Each output folder gets the files that `surgsam2.job.segment_to_folder` writes, byte for byte.
    ``summary.json`` says at any time how far the run is, and ``logs`` holds what was logged for
    each video. A video that cannot be segmented does not stop the others; one that ends
    several workers in a row is quarantined.

    Processes of workers import the script that calls this function, so a script calls it under
    ``if __name__ == "__main__":``.

    Args:
        jobs: the videos, from `read_datalist`.
        output_dir: the folder that holds the folders of all videos.
        settings: model and options. `overwrite` begins anew where a folder holds something else.
        options: how the list is divided.
        executor: starts the workers; None takes what the options say. It is called only if
            something is left to do.
        should_stop: asked about twice a second; true ends the run, and each video is saved after
            its present frame.
        tell: called with a line of text for each complete video, and for a table of the workers
            at the end.

    Returns:
        The content of the summary.

    Raises:
        InputError: an option, or folders that hold something else: all are named together.
        CheckpointError, DeviceError: the model cannot be loaded.
        OutputError: the folder cannot be written, or another run writes there.
        FailedJobsError: some videos failed. It is raised after all have been tried.
        KeyboardInterrupt: `should_stop` was true.
    """
    options = options or ListOptions()
    part, parts = options.part
    if parts > 1:
        chosen = parts_of([job.video.size() for job in jobs], parts)[part - 1]
        jobs = [jobs[index] for index in chosen]
    with contextlib.ExitStack() as stack:
        output_dir.make_folder()
        if output_dir.is_local:
            logs = output_dir.path / LOGS
            for path in (logs, *logs.rglob("*")):
                refuse_link(path)
        lock = local_lock(output_dir, (part, parts))
        if lock is not None:
            with writing(lock):
                try:
                    stack.enter_context(exclusive(lock))
                except BlockingIOError:
                    raise OutputError(
                        f"cannot write {output_dir}: another run of a list is under way there; "
                        "wait until it has finished, or choose another folder"
                    ) from None
        run = _ListRun(jobs, output_dir, settings, options, tell)
        return run.carry_out(executor or (lambda: _executor(settings, options)), should_stop)


def _executor(settings: Settings, options: ListOptions) -> Executor:
    if options.executor == "ray":
        from surgsam2.cluster.ray_executor import RayExecutor

        return RayExecutor(settings, options)
    from surgsam2.cluster.executor import plan_workers
    from surgsam2.cluster.local import LocalExecutor

    return LocalExecutor(settings, plan_workers(settings, options))


class _ListRun:
    """One run over a list, or over a part of it."""

    def __init__(
        self,
        jobs: Sequence[VideoJob],
        output_dir: Place,
        settings: Settings,
        options: ListOptions,
        tell: Callable[[str], None],
    ) -> None:
        self._tell = tell
        self._jobs = jobs
        self._output_dir = output_dir
        self._settings = settings
        self._options = options
        self._scheduler = Scheduler([max(1, job.video.size()) for job in jobs], options.retries)
        self._summary = ListSummary(
            output_dir, jobs, self._scheduler, options.part, settings.job.keep_names
        )
        self._store = Manifests()
        self._manifests: list[Manifest] = []
        self._tasks: dict[str, Task] = {}
        self._kinds: dict[str, tuple[str, ...]] = {}
        """The kinds of tasks that each worker does."""
        self._free: dict[str, FreeWorker] = {}
        self._settings_key = settings_key(settings)
        self._splits = plan_splits(jobs, options, settings.job)
        for index, split in enumerate(self._splits):
            if split is not None:
                self._scheduler.divide(index, split.parts)

    def carry_out(
        self, executor: Callable[[], Executor], should_stop: Callable[[], bool]
    ) -> dict[str, Any]:
        self._summary.check(self._settings.job.overwrite)
        self._take_up()
        self._summary.save("running", now=True)
        status = "failed"
        try:
            stopped = not self._scheduler.finished and self._work(executor(), should_stop)
            states = {video.state for video in self._scheduler.videos}
            status = "complete" if states <= {"complete"} else "failed"
            if stopped and not self._scheduler.finished:
                status = "interrupted"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            content = self._summary.save(status, now=True)
        assert content is not None
        for line in self._summary.table() if len(self._summary.workers) > 1 else ():
            self._tell(line)
        if status == "interrupted":
            raise KeyboardInterrupt
        failed = [row["output"] for row in content["videos"] if row["status"] != "complete"]
        if failed:
            raise FailedJobsError(
                f"{len(failed)} of {len(self._jobs)} videos failed ({', '.join(failed[:10])}"
                f"{', …' if len(failed) > 10 else ''}); see "
                f"{self._output_dir / summary_name(*self._options.part)}"
            )
        return content

    def _take_up(self) -> None:
        """Read how far the videos are, and refuse folders that hold something else."""
        problems = []
        for index, job in enumerate(self._jobs):
            try:
                key = job_key(job, self._settings_key, self._splits[index])
            except SurgSAM2Error:
                key = ""  # the worker that opens the files says what is wrong
            try:
                self._manifests.append(self._taken_up(index, job, key))
            except SurgSAM2Error as error:
                problems.append(str(error))
        refuse_all("", problems)

    def _taken_up(self, index: int, job: VideoJob, key: str) -> Manifest:
        if job.output.is_local:
            refuse_links(job.output.path)
        manifest = self._store.read(job.output)
        if manifest is not None and key and manifest.key == key:
            if manifest.complete:
                self._summary.frames[index] = manifest.frames
                self._scheduler.complete(index)
                self._say(index, "complete already, nothing to resume")
                return manifest
            if manifest.chunks:
                manifest.check_parts(job.output, len(self._scheduler.videos[index].parts))
                # a driver that was killed leaves chunks that nobody has taken note of
                self._delete_others(index, manifest)
                for part in sorted({chunk.part for chunk in manifest.chunks}):
                    self._scheduler.restore(Piece(index, part), manifest.left(part))
                manifest = replace(manifest, interruptions=manifest.interruptions + 1)
                return self._store.write(job.output, manifest, first=True)
        elif key and not self._settings.job.overwrite:
            refuse_occupied(job.output, manifest)
        return Manifest(key)

    def _work(self, executor: Executor, should_stop: Callable[[], bool]) -> bool:
        """Give out tasks until nothing is left; return whether the run was stopped."""
        shown, deadline = time.monotonic(), 0.0
        with contextlib.ExitStack() as stack:
            stack.callback(executor.close)
            if self._options.metrics_port is not None:
                _serve_metrics(stack, self._summary, self._options.metrics_port)
            while not self._scheduler.finished:
                if not deadline and should_stop():
                    deadline = time.monotonic() + _STOP_SECONDS
                    executor.stop()
                if deadline and (not self._tasks or time.monotonic() > deadline):
                    return True
                if not deadline:
                    self._assign(executor)
                for event in executor.poll(_POLL_SECONDS):
                    if isinstance(event, Joined):
                        self._joined(event)
                    elif isinstance(event, Progressed):
                        self._progressed(event)
                    elif isinstance(event, Ended):
                        self._ended(event)
                    else:
                        self._lost(event)
                self._summary.save("running")
                if time.monotonic() - shown > _LINE_SECONDS:
                    shown = time.monotonic()
                    logger.info("%s", self._summary.line())
        return False

    def _assign(self, executor: Executor) -> None:
        for worker, piece in self._scheduler.assign(self._free):
            index, part = piece
            manifest, kind = self._manifests[index], self._scheduler.videos[index].kind
            if not self._is_prepared(index):
                continue
            chunks = sorted(manifest.chunks, key=lambda chunk: chunk.part)
            task = Task(
                video=index,
                kind=kind,
                job=self._jobs[index],
                folder=secrets.token_hex(8),
                part=part,
                steps=self._options.chunk,
                chunks=manifest.of_part(part) if kind == "track" else tuple(chunks),
                run=manifest.run,
                split=self._splits[index],
                interruptions=manifest.interruptions,
            )
            del self._free[worker]
            self._tasks[worker] = task
            row = self._summary.workers[worker]
            row.tasks, row.video = row.tasks + 1, self._summary.name(index)
            executor.assign(worker, task)

    def _is_prepared(self, index: int) -> bool:
        """Empty the folder of a divided video before its first task; return whether it is ready.

        For other videos the worker does so, after it has read the video.
        """
        if self._scheduler.videos[index].is_over:  # it failed with the part before
            return False
        runs = any(task.video == index for task in self._tasks.values())
        if self._splits[index] is None or self._manifests[index].run is not None or runs:
            return True
        try:
            prepare_place(self._jobs[index].output, self._settings.job.overwrite)
        except SurgSAM2Error as error:
            self._failed_by(index, error)
            return False
        return True

    def _joined(self, event: Joined) -> None:
        before = self._summary.workers.get(event.worker)
        lost = before.lost if before else 0
        row = WorkerRow(event.host, event.device, lost=lost)
        if before:
            row.frames, row.seconds, row.tasks = before.frames, before.seconds, before.tasks
        self._summary.workers[event.worker] = row
        self._kinds[event.worker] = event.kinds
        self._release(event.worker)

    def _release(self, worker: str) -> None:
        rate = self._summary.workers[worker].rate or float("inf")
        self._free[worker] = FreeWorker(self._kinds[worker], rate)

    def _progressed(self, event: Progressed) -> None:
        task = self._tasks.get(event.worker)
        manifest = None if task is None else self._manifests[task.video]
        if task is None or manifest is None or manifest.run is None or task.kind != "track":
            return
        chunks = manifest.of_part(task.part)
        done = (chunks[-1].last if chunks else 0) + event.frames
        left = max(0.0, 1 - done / max(1, manifest.run.steps[task.part]))
        self._scheduler.videos[task.video].parts[task.part].left = left

    def _ended(self, event: Ended) -> None:
        task, outcome = self._tasks.pop(event.worker, None), event.outcome
        if task is None:
            return
        row = self._summary.workers[event.worker]
        row.video = ""
        self._log(task.video, outcome.log)
        if not (outcome.stopped or outcome.is_lost):
            self._release(event.worker)
        try:
            self._take_note(task, outcome, row)
        except SurgSAM2Error as error:
            self._failed_by(task.video, error)

    def _take_note(self, task: Task, outcome: Outcome, row: WorkerRow) -> None:
        """Make what a task has done part of the results."""
        index, job = task.video, self._jobs[task.video]
        manifest = self._manifests[index]
        if outcome.is_lost:
            self._give_up(task, outcome.error)
        elif self._scheduler.videos[index].is_over:
            self._delete_others(index, manifest)  # another part of the video has failed
        elif outcome.error:
            self._failed(index, outcome.error)
        elif outcome.chunk is not None and outcome.run is not None:
            chunk, run = outcome.chunk, outcome.run
            if manifest.run and (different := differences(manifest.run.identity, run.identity)):
                raise InputError(
                    f"{job.output}: its parts were tracked differently ({different}); use the same "
                    "kind of machine for all parts"
                )
            stopped = outcome.stopped and chunk.last < run.steps[chunk.part]
            manifest = replace(
                manifest,
                key=manifest.key or job_key(job, self._settings_key, self._splits[index]),
                run=run,
                chunks=(*manifest.chunks, chunk),
                interruptions=manifest.interruptions + bool(stopped),
            )
            self._manifests[index] = self._store.write(
                job.output, manifest, first=len(manifest.chunks) == 1
            )
            frames = chunk.last - chunk.first
            self._summary.tracked += frames
            row.frames, row.seconds = row.frames + frames, row.seconds + chunk.seconds
            self._scheduler.tracked(Piece(index, chunk.part), manifest.left(chunk.part))
        elif outcome.report is not None:
            frames = outcome.report["timings"]["frames"]
            done = Manifest(manifest.key, complete=True, frames=frames)
            self._manifests[index] = self._store.write(job.output, done)
            (job.output / RESUME).delete()
            self._summary.frames[index] = frames
            self._scheduler.complete(index)
            self._say(index, f"complete: {frames} frames")
        else:
            self._scheduler.released(Piece(index, task.part))

    def _lost(self, event: Lost) -> None:
        self._free.pop(event.worker, None)
        row = self._summary.workers.get(event.worker)
        if row is not None:
            row.lost, row.video = row.lost + 1, ""
        task = self._tasks.pop(event.worker, None)
        if task is not None:
            self._give_up(task, event.reason)

    def _give_up(self, task: Task, reason: str) -> None:
        """Delete what a lost worker has left, and have its video tried again."""
        self._summary.lost += 1
        name, video = self._summary.name(task.video), self._scheduler.videos[task.video]
        manifest = self._manifests[task.video]
        self._log(task.video, f"a worker was lost: {reason}\n")
        logger.warning("%s: a worker was lost: %s", name, reason)
        with contextlib.suppress(SurgSAM2Error):
            self._delete_others(task.video, manifest)
        if task.kind == "track" and manifest.chunks:
            manifest = replace(manifest, interruptions=manifest.interruptions + 1)
            self._manifests[task.video] = manifest
        piece = Piece(task.video, task.part)
        self._scheduler.lost(piece, f"{video.lost + 1} workers were lost with it; {reason}")
        if video.state == "quarantined":
            logger.error("%s: quarantined: %s", name, video.error)

    def _delete_others(self, index: int, manifest: Manifest) -> None:
        """Delete the chunks of a video that neither count nor are being made."""
        kept = {chunk.folder for chunk in manifest.chunks}
        kept |= {task.folder for task in self._tasks.values() if task.video == index}
        delete_chunks(self._jobs[index].output, kept)

    def _failed_by(self, index: int, error: SurgSAM2Error) -> None:
        text = str(error)
        if not self._settings.job.keep_names:
            text = hide_job_names(self._jobs[index], text)
        self._failed(index, one_line(text))

    def _failed(self, index: int, error: str) -> None:
        logger.error("%s: %s", self._summary.name(index), error)
        self._scheduler.failed(index, error)

    def _log(self, index: int, text: str) -> None:
        """Add lines to the log of a video."""
        if not text:
            return
        place = self._output_dir / LOGS / f"{self._summary.name(index)}.log"
        try:
            place.parent.make_folder()
            if place.is_local:
                with writing(place.path), place.path.open("a", encoding="utf-8") as file:
                    file.write(text)
            else:
                place.write_bytes((place.read_bytes() or b"") + text.encode())
        except SurgSAM2Error as error:
            logger.warning("%s", error)

    def _say(self, index: int, text: str) -> None:
        self._tell(f"{one_line(self._summary.name(index))}: {text}")


def _serve_metrics(stack: contextlib.ExitStack, summary: ListSummary, port: int) -> None:
    from surgsam2.engine.remote.health import METRICS_TYPE, metrics_text, serve_pages

    pages = {"/metrics": lambda: (METRICS_TYPE, metrics_text(summary.metrics()))}
    try:
        http = serve_pages(pages, "127.0.0.1", port)
    except OSError as error:
        raise InputError(f"metrics_port {port}: {error.strerror or error}") from error
    stack.callback(http.server_close)
    stack.callback(http.shutdown)
