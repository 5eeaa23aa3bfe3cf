"""The processes of a run that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from surgsam2.model.devices import resolve_device


@dataclass(frozen=True)
class Place:
    """One process of a run."""

    rank: int
    """Number of the process, from 0."""
    world: int
    """Number of processes."""
    device: torch.device
    """Where the process computes."""

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


def find_place(device: str | torch.device) -> Place:
    """Return this process's place among those that `torchrun` started, or the only one.

    Under `torchrun` with CUDA each process uses the GPU of its local rank.

    Raises:
        DeviceError: the device does not exist here.
    """
    target = resolve_device(str(device))
    if not _under_torchrun():
        return Place(0, 1, target)
    if target.type == "cuda":
        target = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), target)


@contextmanager
def process_group(place: Place) -> Iterator[None]:
    """Connect the processes of a run inside the context, where there are several.

    A group that exists already is used and left as it is.
    """
    started = _under_torchrun() and not dist.is_initialized()
    if started:
        if place.device.type == "cuda":
            torch.cuda.set_device(place.device)
        dist.init_process_group("nccl" if place.device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        if started:
            dist.destroy_process_group()


def wait_for_all(place: Place) -> None:
    """Wait until every process of the run has come here."""
    if place.world > 1:
        dist.barrier()


def _under_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ
