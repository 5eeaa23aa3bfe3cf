"""Does the tasks of a list: tracks chunks and writes the files of complete videos."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from surgsam2.cluster.manifest import CHUNKS, mask_names, prepare_place
from surgsam2.cluster.tasks import Outcome, RunRecord, Settings, Task
from surgsam2.errors import DeviceError, InputError, SurgSAM2Error, shortage
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.job.chunks import FIRST_PASS, OUTPUTS, RESULTS, STATE, Chunk, track_chunk
from surgsam2.job.datalist import VideoJob, hide_job_names
from surgsam2.job.earlier import finished_report
from surgsam2.job.fingerprint import differences
from surgsam2.job.inputs import check_inputs
from surgsam2.job.join import join_chunks
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet, load_prompts, naming_prompt_file
from surgsam2.storage.hashing import sha256_of
from surgsam2.storage.output_folder import hold_output
from surgsam2.storage.places import LocalCopies, Place, local_output
from surgsam2.storage.text import one_line

logger = logging.getLogger(__name__)

ShouldStop = Callable[[int], bool]
"""Asked after every frame with the number of frames of the task; true ends the task there."""


class _Stopped(Exception):  # noqa: N818 - not an error
    """The writing of a video's files was stopped."""


class Worker:
    """Does one task after another with one model.

    Args:
        settings: what all tasks share.
        scratch: a folder of this machine that belongs to this worker alone.
    """

    def __init__(self, settings: Settings, scratch: Path) -> None:
        self._settings = settings
        self._scratch = scratch
        self._copies = LocalCopies(scratch / "copies", settings.cache_bytes)

    @cached_property
    def model(self) -> SurgSAM2Model:
        """The model, loaded when it is first needed."""
        return self._settings.model.load()

    @cached_property
    def _file_sha256(self) -> str | None:
        path = self.model.checkpoint
        return sha256_of(path) if path else None

    def perform(self, task: Task, should_stop: ShouldStop = lambda done: False) -> Outcome:
        """Do a task. Errors become part of the outcome."""
        with _captured_log() as log:
            try:
                work = self._track if task.kind == "track" else self._merge
                outcome = work(task, should_stop)
            except Exception as error:
                outcome = self._failed(task.job, shortage(error) or error)
            finally:
                for name in ("chunks", "output", "new"):
                    shutil.rmtree(self._scratch / name, ignore_errors=True)
        return replace(outcome, log=self._told(task.job, log.getvalue()))

    def _failed(self, job: VideoJob, error: Exception) -> Outcome:
        """Log an error and return the outcome of the task that it has ended.

        A bug, a shortage of memory or a broken device ends the worker, and another one may do
        better; any other error would come again.
        """
        is_known = isinstance(error, SurgSAM2Error)
        text = str(error) if is_known else f"{type(error).__name__}: {error}"
        logger.error("%s", text, exc_info=None if is_known else error)
        is_lost = not is_known or isinstance(error, DeviceError)
        return Outcome(error=one_line(self._told(job, text)), is_lost=is_lost)

    def _told(self, job: VideoJob, text: str) -> str:
        return text if self._settings.job.keep_names else hide_job_names(job, text)

    def _track(self, task: Task, should_stop: ShouldStop) -> Outcome:
        job, is_local = task.job, task.job.output.is_local
        output = job.output.path if is_local else self._scratch / "output"
        prompts = fetch_prompts(self._copies, job.prompts)
        model = self.model
        with (
            self._settings.video.open(self._copies.fetch(job.video)) as video,
            naming_prompt_file(str(job.prompts)),
        ):
            inputs = check_inputs(model, video, prompts, output, self._options, split=task.split)
            record = replace(inputs.model_record, file_sha256=self._file_sha256)
            parts = range(task.split.parts if task.split else 1)
            steps = tuple(inputs.of_part(part).plan.steps for part in parts)
            run = RunRecord(inputs.identity, record, steps)
            if task.run is None:
                if task.split is None:  # else the driver has done so, once for all parts
                    prepare_place(job.output, self._settings.job.overwrite)
            elif different := differences(task.run.identity, run.identity):
                raise InputError(
                    f"{job.output}: cannot go on ({different}); use the same kind of machine "
                    "and the same programs, or delete the folder"
                )
            names = [FIRST_PASS] if inputs.plan.direction == "both" else []
            before = self._chunks(task, names, STATE)
            folder = (output / CHUNKS if is_local else self._scratch / "new") / task.folder
            chunk = track_chunk(inputs, before, folder, task.steps, should_stop, task.part)
        if not is_local:
            for name in chunk.files:
                (job.output / CHUNKS / task.folder / name).upload(folder / name)
        return Outcome(chunk=chunk, run=run)

    def _merge(self, task: Task, should_stop: ShouldStop) -> Outcome:
        job, run = task.job, task.run
        assert run is not None
        prompts = fetch_prompts(self._copies, job.prompts)
        options = replace(self._options, resume=True, overwrite=True)
        done = 0

        def stop() -> bool:
            nonlocal done
            done += 1
            return should_stop(done)

        with (
            self._settings.video.open(self._copies.fetch(job.video)) as video,
            contextlib.suppress(_Stopped),
            local_output(job.output, self._scratch / "output") as output,
        ):
            split = task.split
            if finished_report(output) is None:  # else the driver was lost before it took note
                with hold_output(output, overwrite=True):
                    chunks = self._chunks(task, [RESULTS, OUTPUTS])
                    inputs = check_inputs(run.model, video, prompts, output, options, split=split)
                    split = join_chunks(inputs, chunks, output, run.identity, task.interruptions)
            report = segment_to_folder(
                run.model, video, prompts, output, options, should_stop=stop, split=split
            )
            if report["status"] != "complete":
                raise _Stopped
            return Outcome(report=report)
        return Outcome(stopped=True)

    @property
    def _options(self) -> JobOptions:
        return replace(self._settings.job, resume=False)

    def _chunks(
        self, task: Task, names: Iterable[str], last: str | None = None
    ) -> list[tuple[Chunk, Path]]:
        """Return the complete chunks of a task, each with a folder of this machine.

        Args:
            task: the task.
            names: the files that are needed of every chunk that has them.
            last: a file that is needed of the last chunk alone.
        """
        place, found = task.job.output / CHUNKS, []
        for number, chunk in enumerate(task.chunks):
            if place.is_local:
                found.append((chunk, place.path / chunk.folder))
                continue
            folder = self._scratch / "chunks" / chunk.folder
            wanted = set(names) | ({last} if number == len(task.chunks) - 1 else set())
            for name in chunk.files.keys() & wanted:
                (place / chunk.folder / name).download(folder / name)
            found.append((chunk, folder))
        return found


def fetch_prompts(copies: LocalCopies, place: Place) -> PromptSet:
    """Load the prompts of a video, with their mask images.

    Args:
        copies: where copies of files from elsewhere are.
        place: the prompt file.

    Raises:
        PromptError: the file is not valid.
        InputError: a file cannot be read.
    """
    path = copies.fetch(place)
    if not place.is_local:
        for name in mask_names(path.read_bytes()):
            target = path.parent / name
            if not target.exists():
                (place.parent / name).download(target)
    return load_prompts(path)


@contextlib.contextmanager
def _captured_log() -> Iterator[io.StringIO]:
    """Collect what the library logs in the block, as lines of text."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("surgsam2")
    before = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield text
    finally:
        ours.removeHandler(handler)
        ours.setLevel(before)
