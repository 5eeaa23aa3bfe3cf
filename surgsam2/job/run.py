"""Segment a video into a folder: from the checks before to the report after."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.engine.remote_model import RemoteModel
from surgsam2.errors import OutputError, VideoError, shortage
from surgsam2.job.checkpoint import Checkpoint, CheckpointStore
from surgsam2.job.earlier import (
    EarlierResults,
    copy_record,
    find_earlier,
    finished_report,
    keep_record,
    refuse_another_run,
    refuse_edited_masks,
    with_kept_objects,
)
from surgsam2.job.fingerprint import ModelRecord, check_same
from surgsam2.job.inputs import RunInputs, check_inputs, open_tracking
from surgsam2.job.options import JobOptions
from surgsam2.job.report import Timings, make_report
from surgsam2.job.split import Split
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import (
    ANNOTATION,
    PROMPTS,
    HeldOutput,
    ResultRecord,
    ResultWriter,
    begin_output,
    finish_output,
    hold_output,
    write_report,
)
from surgsam2.prompts import PromptSet, save_prompts
from surgsam2.results.frame_result import FrameResult
from surgsam2.results.prompt_advice import advise
from surgsam2.storage.disk_store import DiskStore
from surgsam2.storage.hashing import Fingerprints
from surgsam2.tracking.remote import Tracking
from surgsam2.video import VideoSource, opened

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]
"""Called after every tracked frame: frames done, frames in all, seconds since the start."""


def segment_to_folder(
    model: SurgSAM2Model | RemoteModel | ModelRecord,
    video: VideoSource,
    prompts: PromptSet,
    folder: Path | str,
    options: JobOptions | None = None,
    *,
    progress: Progress = lambda done, total, seconds: None,
    should_stop: Callable[[], bool] = lambda: False,
    split: Split | None = None,
) -> dict[str, Any]:
    """Segment a video into a folder.

    Everything that can be checked is checked before the folder is touched. Files are written as
    frames arrive; while the run goes on, and after one that failed or was stopped, the
    folder has a file `INCOMPLETE`, and what was written before is valid. The folder is
    held meanwhile: a second run into it is refused.

    With `JobOptions.resume`, a run that was stopped or killed continues from its last saved
    state, and the files become those of a run without interruption. A video that is not a
    file or folder (an array) has no identity to check, so its runs cannot be resumed.

    Args:
        model: the model, from `load_model`, or from `connect`; its record serves for a run to be
            resumed all of whose frames are tracked.
        video: a video from `open_video`, or anything that it accepts.
        prompts: what to segment.
        folder: the output folder.
        options: the options of the run; None takes the defaults.
        progress: called after every tracked frame.
        should_stop: asked after every tracked frame; true ends the run as `interrupted`.
        split: how the frames of a run to be resumed were divided among processes; see
            `surgsam2.job.split`.

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
    with ExitStack() as resources:
        opened_video = resources.enter_context(opened(video))
        inputs = check_inputs(
            model, opened_video, prompts, folder, options or JobOptions(), split=split
        )
        held = resources.enter_context(hold_output(folder, overwrite=inputs.options.overwrite))
        run = SegmentationRun(inputs, held, resources.enter_context(Fingerprints(inputs.files)))
        if inputs.options.resume:
            finished = run.resume()
            if finished is not None:
                return finished
        if not inputs.options.overwrite:
            run.keep_earlier_results()
        return run.carry_out(progress, should_stop)


class SegmentationRun:
    """One run: it tracks and writes, from the beginning or from a saved state.

    Args:
        inputs: the inputs, which are checked.
        held: the output folder.
        fingerprints: the hashes of the input files, which are computed meanwhile.
    """

    def __init__(self, inputs: RunInputs, held: HeldOutput, fingerprints: Fingerprints) -> None:
        self._inputs = inputs
        self._held = held
        self._output = output = held.path
        self._fingerprints = fingerprints
        self._checkpoints = CheckpointStore(output)
        self._saved: Checkpoint | None = None
        self._timings = Timings()
        self._steps = 0
        self._resumed = 0
        self._updating = False
        self._earlier: EarlierResults | None = None
        self._edited: list[int] | None = None
        self._kept: ResultRecord | None = None

    def resume(self) -> dict[str, Any] | None:
        """Continue the run that the folder holds, if there is one.

        Returns:
            The report of the run if it is complete already, else None.

        Raises:
            InputError: the folder holds another run.
            OutputError: the saved state cannot be used.
        """
        identity = self._inputs.identity
        finished = finished_report(self._output)
        if finished is not None:
            check_same(finished["identity"], identity, self._output)
            finish_output(self._output)  # A process killed at the very end may leave files.
            return finished | {"already_complete": True}
        saved = self._checkpoints.load()
        if saved is not None:
            check_same(saved.identity, identity, self._output)
            logger.info("resuming after %d frames", saved.steps)
            self._saved = saved
            self._steps, self._resumed = saved.steps, saved.resumed + 1
            self._updating = saved.updating
        return None

    def keep_earlier_results(self) -> None:
        """Keep the frames of earlier results in the folder that this run does not segment.

        Raises:
            OutputError: the folder holds results of another run, or masks that were changed by
                hand and that this run would replace.
        """
        inputs = self._inputs
        if (self._output / ANNOTATION).exists():
            raise OutputError(
                f"cannot write {self._output}: it holds a project of surgsam2 annotate, which "
                "would be lost; choose another folder, or replace it with overwrite (--overwrite)"
            )
        earlier = None if self._saved is not None else find_earlier(self._output)
        if earlier is None:
            return
        if not inputs.can_resume:
            raise OutputError(
                f"cannot write {self._output}: it holds results of another run, which would be "
                "lost; choose another folder, or replace them with overwrite (--overwrite)"
            )
        corrects = inputs.corrected is not None
        refuse_another_run(earlier, inputs.identity, self._output, corrects=corrects)
        frames = range(inputs.plan.start, inputs.plan.stop)
        refuse_edited_masks(earlier, inputs, self._output, frames)
        with closing(earlier.open()) as store:
            kept = [index for index in store.indices() if index not in frames]
        if not (kept or corrects) and set(earlier.formats) <= set(inputs.options.formats):
            return
        logger.info("%s: %d frames of earlier results are kept", self._output, len(kept))
        self._updating = True
        self._earlier = earlier
        formats = (*earlier.formats, *inputs.options.formats)
        options = replace(inputs.options, formats=tuple(dict.fromkeys(formats)))
        identity = inputs.identity | {"formats": ",".join(sorted(options.formats))}
        self._inputs = replace(inputs, options=options, identity=identity)

    def carry_out(self, progress: Progress, should_stop: Callable[[], bool]) -> dict[str, Any]:
        """Track and write to the end; whatever happens, the folder gets a report.

        Args:
            progress: as for `segment_to_folder`.
            should_stop: as for `segment_to_folder`.

        Returns:
            The report.

        Raises:
            DeviceError: out of memory.
            Exception: any error of tracking or writing, after the report is written.
        """
        keep = self._saved is not None or self._updating
        if not keep and self._checkpoints.exists():
            logger.warning("%s: an interrupted run is discarded; resume would go on", self._output)
        begin_output(self._output, keep=keep)
        self._timings = Timings(self._saved.seconds if self._saved else 0.0)
        status = "complete"
        failure: Exception | None = None
        try:
            if self._inputs.options.stride == 1:  # otherwise the frames are counted differently
                save_prompts(self._inputs.prompts, self._output / PROMPTS, self._inputs.video)
            self._track(progress, should_stop)
        except KeyboardInterrupt:
            status = "interrupted"
        except Exception as error:
            device = self._inputs.model_record.facts["device"]
            short = shortage(error, f"{device} after {len(self._timings.tracker)} frames")
            failure = short or self._with_advice(error)
            failure.__cause__ = error.__cause__ if failure is error else error
            status = f"failed: {failure}"
        report = self._report(status)
        try:
            self._held.check()  # In another folder of the same name this would be misplaced.
            write_report(self._output, report)
        except OutputError as error:
            if failure is None:
                raise
            logger.error("%s", error)  # The disk that ended the run refuses the report too.
        if failure is not None:
            raise failure
        if status == "complete":
            if report["identity"]:
                keep_record(self._output, report["identity"])
            finish_output(self._output)
        logger.info("%s: %d frames", status, report["timings"]["frames"])
        return report

    def _with_advice(self, error: Exception) -> Exception:
        """Return an error of writing with what to do to go on from the last saved state."""
        refused = isinstance(error, OutputError) and isinstance(error.__cause__, OSError)
        if not refused or self._inputs.corrected is not None or not self._checkpoints.exists():
            return error
        return OutputError(f"{error}; when it can be written, go on with resume (--resume)")

    def _track(self, progress: Progress, should_stop: Callable[[], bool]) -> None:
        """Track and write until the plan is done; every file is then complete.

        Raises:
            KeyboardInterrupt: `should_stop` asked for the end; what was written is valid.
        """
        inputs, plan = self._inputs, self._inputs.plan
        with ExitStack() as resources:
            results, first_pass = self._open_stores()
            resources.enter_context(closing(results))
            resources.enter_context(closing(first_pass))
            record = ResultRecord(results, inputs.video.width, inputs.video.height)
            writer = ResultWriter(
                self._output,
                inputs.options.formats,
                inputs.context,
                inputs.video,
                record,
                descending=plan.direction == "backward",
                at_end=self._formats_at_end(),
                edited=self._edited,
            )
            if inputs.corrected is not None:  # it is read here, while `results` is written
                path = self._checkpoints.record
                store = DiskStore(path, length=path.stat().st_size)
                resources.enter_context(closing(store))
                self._kept = ResultRecord(store, inputs.video.width, inputs.video.height)
            with writer:
                if self._saved is not None:
                    planned = plan.finished(self._steps)
                    finished = [i for i in planned if i in record]
                    if len(finished) < len(planned):
                        with suppress(IndexError, VideoError):  # it then tells where it ends
                            inputs.video[plan.stop - 1]
                    self._timings.tracker.extend(record.get(i).milliseconds for i in finished)
                    writer.replay(lambda: _stop_if(should_stop()))
                if self._steps < plan.steps:
                    self._track_on(writer, results, first_pass, progress, should_stop)

    def _track_on(
        self,
        writer: ResultWriter,
        results: DiskStore,
        first_pass: DiskStore,
        progress: Progress,
        should_stop: Callable[[], bool],
    ) -> None:
        """Track the frames that are left.

        Raises:
            InputError: there is no model.
            KeyboardInterrupt: `should_stop` asked for the end.
        """
        inputs, total, began = self._inputs, self._inputs.plan.steps, time.perf_counter()
        tracking = open_tracking(inputs, first_pass, self._saved.tracking if self._saved else None)
        with closing(tracking.run()) as steps:
            if self._saved is None and self._updating:
                self._save(tracking, writer, results, first_pass)
            for frame, result in steps:
                self._held.check()
                if result is not None:
                    self._advise(frame, result)
                    writer.put(frame, self._completed(result))
                    self._timings.tracker.append(result.milliseconds)
                self._steps += 1
                progress(self._steps, total, time.perf_counter() - began)
                stop = should_stop()
                if stop or self._steps % inputs.options.checkpoint_every == 0:
                    self._save(tracking, writer, results, first_pass)
                _stop_if(stop)

    def _completed(self, result: FrameResult) -> FrameResult:
        """Return a result with the objects that a correction does not track again."""
        if self._kept is None or result.frame_index not in self._kept:
            return result
        return with_kept_objects(result, self._kept.get(result.frame_index), self._inputs)

    def _advise(self, frame: np.ndarray, result: FrameResult) -> None:
        """Say which prompts of a frame a person would want to look at again."""
        for object_id, prompt in self._inputs.tracked.on_frame(result.frame_index).items():
            if object_id not in result.object_ids:
                continue
            number = self._inputs.context.number(result.frame_index)
            for text in advise(frame, prompt, result.mask(object_id)):
                logger.warning("object %d, frame %d: %s", object_id, number, text)

    def _formats_at_end(self) -> set[str]:
        """Return the formats that are written from earlier and new results together."""
        if not self._updating:
            return set()
        in_place = "png" in (self._earlier.formats if self._earlier else ("png",))
        return set(self._inputs.options.formats) - ({"png"} if in_place else set())

    def _open_stores(self) -> tuple[DiskStore, DiskStore]:
        """Open the record of results and the first pass of direction `both`."""
        if not self._inputs.can_resume:
            return DiskStore(), DiskStore()
        if self._earlier is None:
            return self._checkpoints.open(self._saved)
        record = self._checkpoints.record
        edited = copy_record(self._earlier, self._inputs, self._output, record)
        if self._inputs.corrected is not None and not self._earlier.interrupted:
            self._edited = edited  # the names and colours of objects are those of the files
        return self._checkpoints.open(None, record.stat().st_size)

    def _save(
        self,
        tracking: Tracking,
        writer: ResultWriter,
        results: DiskStore,
        first_pass: DiskStore,
    ) -> None:
        """Save the state, if the run can be resumed."""
        if not self._inputs.can_resume:
            return
        self._held.check()
        writer.drain()
        results.sync()
        first_pass.sync()
        self._checkpoints.save(
            Checkpoint(
                identity=self._inputs.identity,
                tracking=tracking.state_dict(),
                steps=self._steps,
                seconds=self._timings.seconds,
                resumed=self._resumed,
                results_bytes=results.length,
                first_pass_bytes=first_pass.length,
                updating=self._updating,
            )
        )
        logger.info("state saved after %d frames", self._steps)

    def _report(self, status: str) -> dict[str, Any]:
        """Return the content of the report."""
        timings = self._timings.summary()
        hashes = self._fingerprints.results(wait=status == "complete")
        return make_report(
            self._inputs,
            self._output,
            status=status,
            timings=timings,
            resumed=self._resumed,
            hashes=hashes,
            identity=self._inputs.identity if status == "complete" else None,
        )


def _stop_if(stop: bool) -> None:
    if stop:
        raise KeyboardInterrupt
