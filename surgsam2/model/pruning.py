"""Efficient Frame Pruning (EFP) selects the spatial memories that a frame attends to.

The source is SurgSAM2, arXiv 2408.07931, section 3.2, and the two published forms of
its code. The functions take and return tensors and know nothing of the network.

A frame's candidates are its spatial memories in SAM 2's order: those of the
prompted frames first, then those of the previous frames, oldest first, the
immediately preceding frame last. The first and the last always stay. The others
are ranked by their similarity to the last one, and the most similar, which add
the least, are left out of memory attention. Object pointers are not pruned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from surgsam2.errors import InputError

Form = Literal["capped", "full-bank", "off"]
FORMS: tuple[str, ...] = get_args(Form)

_SHORTEST = 1e-8
"""Smallest length of a vector in the division, so that one of zeros has similarity 0."""


@dataclass(frozen=True)
class EFP:
    """Number of spatial memories that are pruned, and the condition for pruning.

    `capped` (the SAM 2.1 release) keeps at most ``num_maskmem - prune``.
    `full-bank` (the first release) drops exactly ``prune``, and only when there
    are ``num_maskmem`` or more. `off` is plain SAM 2.

    Raises:
        InputError: unknown form, or a `prune` that is not a whole number of 0 or more.
    """

    form: Form = "capped"
    """Published form, or `off`."""
    prune: int = 2
    """Number of memories to leave out; the paper's m = 2."""

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise InputError(f"EFP form must be one of {', '.join(FORMS)}, got {self.form!r}")
        if not isinstance(self.prune, int) or isinstance(self.prune, bool) or self.prune < 0:
            raise InputError(f"EFP prune must be a whole number of 0 or more, got {self.prune!r}")

    def keep_count(self, count: int, num_maskmem: int) -> int:
        """Return how many of `count` memories stay, for a bank of `num_maskmem` (7 in SAM 2)."""
        if self.form == "off":
            return count
        if self.form == "capped":
            kept = min(count, num_maskmem - self.prune)
        else:
            kept = count - self.prune if count >= num_maskmem else count
        return max(kept, min(count, 2))  # the first and the last always stay

    def select(self, maps: torch.Tensor, num_maskmem: int, long_term: int = 0) -> torch.Tensor:
        """Return the indices of the memories that stay.

        Args:
            maps: (B, M, C, P) memory features: B objects, M memories in SAM 2's
                order, C channels, P positions; any float dtype.
            num_maskmem: the network's bank size.
            long_term: number of memories at the start that stay in addition to the bank's.

        Returns:
            (B, K) int64, each row ascending; no device synchronisation.
        """
        if long_term:
            kept = self.select(maps[:, long_term:], num_maskmem) + long_term
            older = torch.arange(long_term, device=maps.device).expand(maps.shape[0], -1)
            return torch.cat([older, kept], dim=1)
        count = maps.shape[1]
        keep = self.keep_count(count, num_maskmem)
        if keep == count:
            return torch.arange(count, device=maps.device).expand(maps.shape[0], -1)
        return least_redundant(redundancy(maps), keep)


def redundancy(maps: torch.Tensor) -> torch.Tensor:
    """Compute the similarity of each memory to the last one, the published EFP score.

    It is the cosine similarity over the channels at every position, summed over positions,
    in float32.

    Args:
        maps: (B, M, C, P) memory features.

    Returns:
        (B, M) float32; the last column is the last memory with itself.
    """
    maps = maps.float()
    # three to eleven times as fast on CPUs as `F.cosine_similarity`, which copies the last map
    products = (maps * maps[:, -1:]).sum(dim=2)
    lengths = maps.square().sum(dim=2).sqrt().clamp_min(_SHORTEST)
    return (products / (lengths * lengths[:, -1:])).sum(dim=-1)


def least_redundant(scores: torch.Tensor, keep: int) -> torch.Tensor:
    """Return the `keep` memories that stay: the first, the last, and the least similar others.

    Args:
        scores: (B, M) similarity to the last memory.
        keep: number to keep, 2 <= keep <= M.

    Returns:
        (B, keep) int64 indices, ascending. Of equally similar memories the newer stay.
    """
    rows, count = scores.shape
    first = torch.zeros(rows, 1, dtype=torch.int64, device=scores.device)
    last = torch.full_like(first, count - 1)
    # newest first, so that the stable sort keeps the newer of two equal ones
    inner = scores[:, 1:-1].flip(1)
    order = inner.argsort(dim=1, stable=True)[:, : keep - 2]
    middle = (count - 2 - order).sort(dim=1).values
    return torch.cat([first, middle, last], dim=1)
