"""The share of an evaluation that one of several processes carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Share:
    """Every `world`-th run of an evaluation, from run number `rank` on."""

    rank: int = 0
    """Number of this process."""
    world: int = 1
    """Number of processes; with several, torch's default process group connects them."""

    def has(self, number: int) -> bool:
        """Return whether this process carries out a run, by its number from 0."""
        return number % self.world == self.rank

    def gather(self, own: Mapping[int, Result]) -> list[Result]:
        """Return the results of all processes in the order of their runs.

        Args:
            own: the results of this process by the number of the run.
        """
        parts: list[Mapping[int, Result]] = [own]
        if self.world > 1:
            import torch.distributed as dist

            parts = [{}] * self.world
            dist.all_gather_object(parts, own)
        merged = {number: result for part in parts for number, result in part.items()}
        return [merged[number] for number in sorted(merged)]


ALONE = Share()
"""The share of the only process: everything."""
