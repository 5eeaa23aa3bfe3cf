"""The part of a run that one process does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from surgsam2.job.background_writer import BackgroundWriter
from surgsam2.job.checkpoint import Checkpoint, CheckpointStore
from surgsam2.job.report import Timings
from surgsam2.job.task import Task
from surgsam2.outputs import OrderedOutputs
from surgsam2.storage.disk_store import DiskStore
from surgsam2.storage.hashing import Fingerprints
from surgsam2.tracking.run import TrackingRun

logger = logging.getLogger(__name__)


class Attempt:
    """Tracks and writes, from the beginning or from a saved state, and saves new states.

    Args:
        saved: where to go on; None for the beginning.
        fingerprints: a state is saved only once they are known, because they tell to which
            run it belongs.
        on_step: called with frames done and seconds since the start.
        should_stop: asked after every frame.
    """

    def __init__(
        self,
        task: Task,
        output: Path,
        saved: Checkpoint | None,
        fingerprints: Fingerprints,
        on_step: Callable[[int, float], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self.timings = Timings(saved.seconds if saved else 0.0)
        self.resumed = saved.resumed + 1 if saved else 0
        """How often the run was taken up; attempts that saved nothing do not count."""
        self._task, self._output, self._saved = task, output, saved
        self._store = CheckpointStore(output)
        self._fingerprints = fingerprints
        self._report_step = on_step
        self._should_stop = should_stop
        self._steps = saved.steps if saved else 0
        self._identity = saved.identity if saved else None

    def carry_out(self) -> None:
        """Until the plan is done; every file is then complete.

        Raises:
            KeyboardInterrupt: asked to stop; what was written is valid.
            Exception: whatever tracking or writing raises; likewise.
        """
        task, saved = self._task, self._saved
        with ExitStack() as resources:
            record, earlier = (
                self._store.open(saved) if task.can_resume else (DiskStore(), DiskStore())
            )
            resources.enter_context(closing(record))
            resources.enter_context(closing(earlier))
            run = TrackingRun(
                task.model,
                task.video,
                task.prompts,
                task.plan,
                task.masks,
                earlier,
                saved.tracking if saved else None,
            )
            outputs = OrderedOutputs(
                self._output,
                task.options.formats,
                task.context,
                task.video,
                record,
                descending=task.plan.direction == "backward",
            )
            with outputs:
                self.timings.tracker.extend(outputs.recorded_milliseconds())
                outputs.replay(self._stop_if_asked)
                with BackgroundWriter(outputs.write) as writing:

                    def on_step() -> None:
                        self._on_step(lambda: self._save(run, record, earlier, writing.drain))

                    results = resources.enter_context(closing(run.results(on_step)))
                    for frame, result in results:
                        writing.put(frame, result)
                        self.timings.tracker.append(result.milliseconds)

    def _on_step(self, save: Callable[[], None]) -> None:
        self._steps += 1
        self._report_step(self._steps, self.timings.here)
        stop = self._should_stop()
        due = self._steps % self._task.options.checkpoint_every == 0
        if self._task.can_resume and (due or stop):
            save()
        if stop:
            raise KeyboardInterrupt

    def _stop_if_asked(self) -> None:
        if self._should_stop():
            raise KeyboardInterrupt

    def _save(
        self, run: TrackingRun, record: DiskStore, earlier: DiskStore, written: Callable[[], None]
    ) -> None:
        if self._identity is None:
            hashes = self._fingerprints.known()
            if hashes is None or hashes["video"] is None:
                return  # still being computed: a later state will do
            self._identity = self._task.identity(hashes)
        written()
        record.sync()
        earlier.sync()
        self._store.save(
            Checkpoint(
                identity=self._identity,
                tracking=run.state(),
                steps=self._steps,
                seconds=self.timings.seconds,
                resumed=self.resumed,
                results_bytes=record.length,
                earlier_bytes=earlier.length,
            )
        )
        logger.info("state saved after %d frames", self._steps)
