"""Workers as actors of a Ray cluster."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import torch

from surgsam2.cluster.executor import CORES_PER_WORKER, MERGERS_PER_GPU, REPORT_SECONDS, STARTS
from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.scheduler import KINDS
from surgsam2.cluster.tasks import Ended, Event, Joined, Lost, Outcome, Progressed, Settings, Task
from surgsam2.cluster.worker import Worker
from surgsam2.errors import DeviceError, MissingDependencyError, SurgSAM2Error
from surgsam2.storage.temporary import TemporaryFolder


@dataclass
class _Slot:
    """One worker that runs, and its actor at present."""

    name: str
    actor: Any
    plan: _ActorPlan
    call: Any
    """The call that has not been answered; None while the worker has no task."""
    joined: bool = False


@dataclass(frozen=True)
class _ActorPlan:
    kinds: tuple[str, ...]
    gpus: int
    threads: int


class RayExecutor:
    """Runs each worker as an actor, and asks Ray for another one when one is lost.

    Args:
        settings: what all tasks share.
        options: the address of the cluster, and the number of workers that track.
        worker: the class that does the tasks.

    Raises:
        MissingDependencyError: Ray is not installed.
        DeviceError: there is no cluster at the address.
    """

    def __init__(
        self, settings: Settings, options: ListOptions, worker: type[Worker] = Worker
    ) -> None:
        self._ray = ray = _import_ray()
        self._settings = settings
        self._worker = worker
        self._stopping = False
        self._failed_starts = 0
        self._is_own = not ray.is_initialized()
        if self._is_own:
            try:
                ray.init(address=options.address, log_to_driver=False, include_dashboard=None
                         if options.address else False)  # fmt: skip
            except Exception as error:  # Ray raises plain ones too
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                where = f"address {options.address}: no Ray cluster"
                if options.address is None:
                    where = "Ray cannot begin on this machine"
                raise DeviceError(f"{where} ({reason})") from error
        # Ray starts it again elsewhere when its machine is lost.
        kept = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
        self._board = kept(_Board).remote()
        self.processes: dict[str, int] = {}
        """The process of each worker, by the worker's name."""
        self._slots: dict[str, _Slot] = {}
        for number, plan in enumerate(_plans(ray.cluster_resources(), settings, options)):
            self._start(str(number), plan)

    def assign(self, worker: str, task: Task) -> None:
        """Give a task to a worker."""
        slot = self._slots[worker]
        slot.call = slot.actor.perform.remote(task)

    def poll(self, seconds: float) -> list[Event]:
        """Wait for events.

        Raises:
            SurgSAM2Error: no worker can start, for example because the model cannot be loaded.
        """
        waited = {slot.call: slot for slot in self._slots.values() if slot.call is not None}
        if not waited:
            time.sleep(seconds)
        ready, _ = self._ray.wait(list(waited), timeout=seconds) if waited else ([], [])
        events: list[Event] = [
            Progressed(name, frames)
            for name, frames in self._ray.get(self._board.progress.remote(self._stopping)).items()
        ]
        for call in ready:
            events.append(self._answered(waited[call]))
        return events

    def stop(self) -> None:
        """Have all workers end their tasks soon; the next `poll` tells them."""
        self._stopping = True

    def close(self) -> None:
        """End all actors, and Ray itself if this executor has started it."""
        for slot in self._slots.values():
            self._ray.kill(slot.actor)
        self._slots.clear()
        self._ray.kill(self._board)
        if self._is_own:
            self._ray.shutdown()

    def _start(self, name: str, plan: _ActorPlan) -> None:
        cpus = 1 if plan.gpus else plan.threads
        actor = self._ray.remote(num_cpus=cpus, num_gpus=plan.gpus)(_Actor).remote(
            name, plan, self._settings, self._worker, self._board
        )
        self._slots[name] = _Slot(name, actor, plan, actor.join.remote())

    def _answered(self, slot: _Slot) -> Event:
        call, slot.call = slot.call, None
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, SurgSAM2Error):
                raise cause from error
            return self._replaced(slot, str(cause or error))
        except self._ray.exceptions.RayError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return self._replaced(slot, f"Ray lost it ({reason})")
        if isinstance(answer, Joined):
            slot.joined, self._failed_starts = True, 0
            self.processes[slot.name] = answer.pid
            return answer
        if answer.stopped or answer.is_lost:
            self._ray.kill(slot.actor)
            self.processes.pop(slot.name, None)
            if not self._stopping:
                self._start(slot.name, slot.plan)
        return Ended(slot.name, answer)

    def _replaced(self, slot: _Slot, reason: str) -> Lost:
        if not slot.joined:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise DeviceError(f"no worker can start: {reason}")
        del self._slots[slot.name]
        self.processes.pop(slot.name, None)
        if not self._stopping:
            self._start(slot.name, slot.plan)
        return Lost(slot.name, reason)


class _Board:
    """An actor at which workers report, and by which they are told to stop."""

    def __init__(self) -> None:
        self._frames: dict[str, int] = {}
        self._stopping = False

    def report(self, worker: str, frames: int) -> bool:
        """Note progress; return whether the worker is to stop."""
        self._frames[worker] = frames
        return self._stopping

    def progress(self, stopping: bool) -> dict[str, int]:
        """Return what was reported since the last call.

        Args:
            stopping: whether the workers are to stop.
        """
        self._stopping = stopping
        frames, self._frames = self._frames, {}
        return frames


class _Actor:
    """An actor that does tasks one after another."""

    def __init__(
        self, name: str, plan: _ActorPlan, settings: Settings, kind: type[Worker], board: Any
    ) -> None:
        self._name, self._plan, self._board = name, plan, board
        self._reported = 0.0
        self._stop = False
        torch.set_num_threads(min(plan.threads, torch.get_num_threads()))
        self._scratch = TemporaryFolder()
        if not plan.gpus:
            settings = replace(settings, model=replace(settings.model, device="cpu"))
        self._worker = kind(settings, self._scratch.path)
        signal.signal(signal.SIGTERM, self._on_signal)

    def join(self) -> Joined:
        """Load the model."""
        device = "cpu"
        if "track" in self._plan.kinds:
            device = str(self._worker.model.device)
        return Joined(self._name, socket.gethostname(), device, self._plan.kinds, os.getpid())

    def perform(self, task: Task) -> Outcome:
        """Do a task."""
        outcome = self._worker.perform(task, self._should_stop)
        return replace(outcome, stopped=self._stop)

    def _should_stop(self, done: int) -> bool:
        import ray

        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self._stop = ray.get(self._board.report.remote(self._name, done)) or self._stop
        return self._stop

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop = True


def _plans(
    resources: Mapping[str, float], settings: Settings, options: ListOptions
) -> list[_ActorPlan]:
    """Return the workers of a cluster with these resources."""
    gpus = 0 if settings.model.device == "cpu" else int(resources.get("GPU", 0))
    cores = max(1, int(resources.get("CPU", 1)))
    if not gpus:
        count = options.workers or max(1, cores // CORES_PER_WORKER)
        return [_ActorPlan(KINDS, 0, max(1, cores // count))] * count
    count = min(options.workers or gpus, gpus)
    mergers = max(1, min(MERGERS_PER_GPU * count, cores - count))
    return [*[_ActorPlan(("track",), 1, 1)] * count, *[_ActorPlan(("merge",), 0, 1)] * mergers]


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "the executor 'ray' needs the package 'ray', which is not installed; run: pip install "
            "'surgsam2[cluster]'"
        ) from error
    return ray
