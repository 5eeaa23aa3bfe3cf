"""The interface between the driver and executors, and the workers that a machine gets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

import torch

from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.scheduler import KINDS
from surgsam2.cluster.tasks import Event, Settings, Task
from surgsam2.model.devices import resolve_device

CORES_PER_WORKER = 2
"""Cores of a CPU machine for each worker, without a number of workers from the user."""
MERGERS_PER_GPU = 3
"""Processes per GPU that write files: in the default formats this takes longer than tracking."""
REPORT_SECONDS = 0.5
"""Seconds between two reports of a worker's progress."""
STARTS = 3
"""Number of workers in a row that may end before one is ready; then none can start."""


class Executor(Protocol):
    """Runs workers and replaces those that are lost."""

    def assign(self, worker: str, task: Task) -> None:
        """Give a task to a worker that has joined and has none."""

    def poll(self, seconds: float) -> list[Event]:
        """Wait for events for at most some seconds."""

    def stop(self) -> None:
        """Ask all workers to end their tasks after the present frame, and start no others."""

    def close(self) -> None:
        """End all workers at once."""


@dataclass(frozen=True)
class WorkerPlan:
    """One worker that is to run."""

    device: str
    """Device of its model, such as ``cuda:0``."""
    kinds: tuple[str, ...] = KINDS
    """The kinds of tasks that it does."""
    threads: int = 1
    """Number of threads of its arithmetic."""


def plan_workers(settings: Settings, options: ListOptions) -> list[WorkerPlan]:
    """Return the workers of this machine.

    Each GPU gets one that tracks, and further ones that write files. On CPUs each worker does
    both.

    Args:
        settings: its model's device says what is used.
        options: may give the number of workers.

    Raises:
        DeviceError: the device does not exist here.
    """
    device, cores = resolve_device(settings.model.device), _cores()
    if device.type == "cpu":
        count = options.workers or max(1, cores // CORES_PER_WORKER)
        return [WorkerPlan("cpu", threads=max(1, cores // count))] * count
    is_one = device.type != "cuda" or ":" in settings.model.device
    devices = [str(device)] if is_one else [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    count = options.workers or len(devices)
    mergers = max(1, min(MERGERS_PER_GPU * len(devices), cores - count))
    return [
        *(WorkerPlan(devices[i % len(devices)], ("track",)) for i in range(count)),
        *([WorkerPlan("cpu", ("merge",))] * mergers),
    ]


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
