"""Workers as processes of this machine, so that a crash in compiled code ends only one of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from surgsam2.cluster.executor import REPORT_SECONDS, STARTS, WorkerPlan
from surgsam2.cluster.tasks import Ended, Event, Joined, Lost, Progressed, Settings, Task
from surgsam2.cluster.worker import Worker
from surgsam2.errors import DeviceError, SurgSAM2Error
from surgsam2.storage.temporary import TemporaryFolder

_CLOSE_SECONDS = 5.0


@dataclass
class _Slot:
    """One worker that runs, and the process that it runs in at present."""

    name: str
    plan: WorkerPlan
    process: BaseProcess
    connection: Connection
    scratch: str
    """A folder of its own."""
    joined: bool = False


class LocalExecutor:
    """Runs each worker in a process of its own, and starts another one for one that ended.

    Args:
        settings: what all tasks share.
        plans: the workers.
        worker: the class that does the tasks.
    """

    def __init__(
        self, settings: Settings, plans: Sequence[WorkerPlan], worker: type[Worker] = Worker
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._context = _context()
        self._failed_starts = 0
        self._stopping = False
        self._slots: dict[str, _Slot] = {}
        self._scratch = TemporaryFolder()
        for number, plan in enumerate(plans):
            self._start(str(number), plan)

    def assign(self, worker: str, task: Task) -> None:
        """Give a task to a worker."""
        with contextlib.suppress(OSError):  # it has ended, which `poll` will find
            self._slots[worker].connection.send(task)

    def poll(self, seconds: float) -> list[Event]:
        """Wait for events; a worker that ended gives `Lost` and is started anew.

        Raises:
            SurgSAM2Error: no worker can start, for example because the model cannot be loaded.
        """
        if not self._slots:
            time.sleep(seconds)
            return []
        waited: dict[Any, _Slot] = {slot.connection: slot for slot in self._slots.values()}
        events: list[Event] = []
        for ready in multiprocessing.connection.wait(list(waited), seconds):
            slot = waited[ready]
            try:
                while slot.connection.poll():
                    events.append(self._received(slot, slot.connection.recv()))
            except (EOFError, OSError):
                events.append(self._ended(slot))
        return events

    def stop(self) -> None:
        """Ask all workers to end their tasks after the present frame."""
        self._stopping = True
        for slot in self._slots.values():
            with contextlib.suppress(OSError):
                slot.connection.send(None)

    def close(self) -> None:
        """End all processes."""
        self._stopping = True
        for slot in self._slots.values():
            slot.process.terminate()
        for slot in self._slots.values():
            slot.process.join(_CLOSE_SECONDS)
            slot.process.kill()
            slot.process.join()
            slot.connection.close()
        self._slots.clear()
        self._scratch.remove()

    @property
    def processes(self) -> dict[str, int]:
        """The process of each worker that is ready, by the worker's name."""
        return {s.name: s.process.pid or 0 for s in self._slots.values() if s.joined}

    def _start(self, name: str, plan: WorkerPlan) -> None:
        ours, theirs = self._context.Pipe()
        scratch = tempfile.mkdtemp(dir=self._scratch.path)  # noqa: TID251  (gone with it)
        model = replace(self._settings.model, device=plan.device)
        settings = replace(self._settings, model=model)
        process = self._context.Process(
            target=_work,
            args=(theirs, name, plan, settings, self._worker, scratch),
            daemon=True,
        )
        process.start()
        theirs.close()
        self._slots[name] = _Slot(name, plan, process, ours, scratch)

    def _received(self, slot: _Slot, event: Event) -> Event:
        if isinstance(event, Joined):
            slot.joined, self._failed_starts = True, 0
        if isinstance(event, Lost) and event.error is not None:
            raise event.error
        return event

    def _ended(self, slot: _Slot) -> Lost:
        slot.process.join()
        slot.connection.close()
        shutil.rmtree(slot.scratch, ignore_errors=True)
        del self._slots[slot.name]
        code = slot.process.exitcode or 0
        reason = f"its process ended with code {code}"
        if code < 0:
            reason = f"its process was ended by signal {-code} ({_signal_name(-code)})"
        if not slot.joined:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise DeviceError(
                    f"no worker can start: {reason}; is there enough memory? (A script must call "
                    "segment_list under if __name__ == '__main__')"
                )
        if not self._stopping:
            self._start(slot.name, slot.plan)
        return Lost(slot.name, reason)


def _work(
    connection: Connection,
    name: str,
    plan: WorkerPlan,
    settings: Settings,
    kind: type[Worker],
    scratch: str,
) -> None:
    """Do tasks until the driver is gone or says so, or SIGTERM comes."""
    told = _Told(connection, name)
    torch.set_num_threads(min(plan.threads, torch.get_num_threads()))
    worker = kind(settings, Path(scratch))
    try:
        if "track" in plan.kinds:
            worker.model  # noqa: B018 - loads it
    except SurgSAM2Error as error:
        connection.send(Lost(name, str(error), error))
        return
    connection.send(Joined(name, socket.gethostname(), plan.device, plan.kinds, os.getpid()))
    try:
        while (task := told.next_task()) is not None:
            outcome = worker.perform(task, told.should_stop)
            connection.send(Ended(name, replace(outcome, stopped=told.to_stop)))
            if outcome.is_lost:
                break
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Told:
    """The instructions that a worker's process has got by messages of the driver and by signals."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._reported = 0.0
        self._is_idle = False
        self.to_stop = False
        """Whether the present task is to end early."""
        self.to_end = False
        """Whether the process is to end after the present task."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides about Ctrl-C
        signal.signal(signal.SIGTERM, self._on_signal)

    def next_task(self) -> Task | None:
        """Wait for a task; None when there will be none."""
        self._is_idle = not self.to_end
        try:
            task: Task | None = None if self.to_end else self._connection.recv()
        except (EOFError, OSError):
            task = None
        self._is_idle = False
        return task

    def should_stop(self, done: int) -> bool:
        """Report progress now and then; return whether to stop after this frame."""
        now = time.monotonic()
        try:
            if now - self._reported >= REPORT_SECONDS:
                self._reported = now
                self._connection.send(Progressed(self._name, done))
            if self._connection.poll():
                self._connection.recv()  # while a task is done, only the wish to stop comes
                self.to_stop = self.to_end = True
        except (EOFError, OSError) as error:
            raise SystemExit(1) from error  # the driver is gone
        return self.to_stop

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.to_stop = self.to_end = True
        if self._is_idle:
            raise SystemExit(0)


def _context() -> Any:
    """Return how processes are made: from one that has imported the libraries, where possible."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["surgsam2.cluster.worker"])
    return context


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
