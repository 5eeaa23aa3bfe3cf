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
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


@contextmanager
def processes(device: str) -> Iterator[Place]:
    """Give this process's place; the process group exists as long as the context.

    Under `torchrun` with CUDA each process uses the GPU of its local rank.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Place(0, 1, resolve_device(device))
        return
    target = resolve_device(device)
    if target.type == "cuda":
        target = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(target)
    started = not dist.is_initialized()
    if started:
        dist.init_process_group("nccl" if target.type == "cuda" else "gloo")
    try:
        yield Place(dist.get_rank(), dist.get_world_size(), target)
    finally:
        if started:
            dist.destroy_process_group()
