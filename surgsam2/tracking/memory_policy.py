"""Memory policies decide which of an object's memories are kept and attended to.

A tracked object has memories of its prompted frames, which always stay, and of tracked
frames. SAM 2 keeps a window of the ``num_maskmem - 1`` (six) most recent tracked frames.
A policy changes that rule:

* ``window``: The window of SAM 2, without pruning.
* ``efp``: The window, of which Efficient Frame Pruning selects (`surgsam2.model.pruning`).
  This is the default.
* ``reliable``: The window holds the most recent reliable frames. A frame is reliable when
  the object's presence and predicted IoU reach thresholds. A doubtful memory stays only
  while there are too few reliable ones; each new memory then displaces the oldest doubtful
  one. The object pointers follow the same rule. Sources of the idea are SAMURAI (Yang et
  al., arXiv 2411.11922) and SAM2Long (Ding et al., arXiv 2410.16268).
* ``diverse``: Beside the window there is a long-term memory of at most `long_term` frames.
  A memory that leaves the window is a candidate. When there are too many, one is dropped:
  a doubtful one if there is any, otherwise the most redundant one (see `most_diverse`).
  Sources of the idea are ReSurgSAM2 (Liu et al., arXiv 2505.08581), whose long-term memory
  takes credible and diverse frames, and DAM4SAM (Videnovic et al., arXiv 2411.17576).
* ``reliable-diverse``: Both of these: the window of ``reliable``, and the long-term memory of
  what leaves it.

With `min_similarity` the two reliable policies let an object count as absent that looks unlike
its prompted frames (`surgsam2.tracking.appearance`), and look for it in the whole frame
(`surgsam2.tracking.redetection`). Between frames that lie far apart, as a second does, they keep
every mask, and every frame counts as reliable (`surgsam2.tracking.continuity`).

Pruning comes after the policy: it selects among the prompted frames and the window, and the
long-term memories are attended to in addition. With ``efp`` results are those of EFP alone.

Ages: A memory has a time encoding for its age of 1 to ``num_maskmem - 1`` frames. In the
reliable window the age is the rank, 1 for the newest memory, because older frames have no
encoding; without doubtful frames rank and age are equal. Long-term memories have the
encoding of prompted frames.

The functions take batches of objects and never wait for a GPU: the number of memories is
known on the host, only the choice among them is computed on the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from surgsam2.errors import InputError
from surgsam2.model.pruning import EFP
from surgsam2.tracking.options import MEMORY_SETTINGS, TrackingOptions

_SHORTEST = 1e-8
"""Smallest length of a vector in a division, so that the similarity of zeros is 0."""


@dataclass(frozen=True)
class MemoryPolicy:
    """The policy of a tracker, with its thresholds; see the options of the same names."""

    memory: str = "efp"
    long_term: int = 2
    min_presence: float = 0.5
    min_iou: float = 0.5
    min_similarity: float = 0.0

    @classmethod
    def of(cls, options: TrackingOptions) -> MemoryPolicy:
        """Return the policy that options describe."""
        return cls(**{name: getattr(options, name) for name in ("memory", *MEMORY_SETTINGS)})

    def check(self, num_maskmem: int) -> None:
        """Check that a network's bank is large enough for the policy.

        Raises:
            InputError: the policy needs a window, and the network has none.
        """
        if self.needs_reliability and num_maskmem < 2:
            raise InputError(
                f"memory policy {self.memory!r} needs a window of tracked frames, but the network "
                f"has num_maskmem {num_maskmem}; use 'efp' or 'window'"
            )

    @property
    def needs_reliability(self) -> bool:
        """Whether the policy asks in which frames an object is reliable."""
        return self.has_reliable_window or self.has_long_term

    @property
    def has_reliable_window(self) -> bool:
        """Whether only reliable frames stay in the window."""
        return self.memory in ("reliable", "reliable-diverse")

    @property
    def has_long_term(self) -> bool:
        """Whether memories that leave the window may stay beside it."""
        return self.memory in ("diverse", "reliable-diverse")

    @property
    def checks_appearance(self) -> bool:
        """Whether objects that look unlike their prompted frames are removed and looked for."""
        return self.has_reliable_window and self.min_similarity > 0

    def described(self) -> str:
        """Return the policy with those of its settings that have an effect, as text."""
        text = self.memory
        if self.has_long_term:
            text += f", {self.long_term} long-term"
        if self.needs_reliability:
            text += f", presence {self.min_presence:g}, IoU {self.min_iou:g}"
        if self.checks_appearance:
            text += f", similarity {self.min_similarity:g}"
        return text

    def pruning(self, pruning: EFP) -> EFP:
        """Return the pruning that holds under this policy, given that of the model."""
        return EFP("off") if self.memory == "window" else pruning

    def is_reliable(self, scores: torch.Tensor) -> torch.Tensor:
        """Tell whether the object is reliable in a frame.

        Args:
            scores: (..., 2) predicted IoU and presence, both from 0 to 1.

        Returns:
            (...) bool.
        """
        return (scores[..., 0] >= self.min_iou) & (scores[..., 1] >= self.min_presence)


def most_reliable(reliable: torch.Tensor) -> torch.Tensor:
    """Select all but one of N memories: the oldest doubtful one goes, else the oldest.

    Args:
        reliable: (B, N) bool, oldest memory first.

    Returns:
        (B, N - 1) int64 indices, ascending.
    """
    dropped = reliable.int().argsort(dim=1, stable=True)[:, :1]
    return _all_but(dropped, reliable.shape[1])


def most_diverse(
    maps: torch.Tensor, reliable: torch.Tensor, first_prompt: torch.Tensor
) -> torch.Tensor:
    """Select all but one of N long-term memories.

    The redundancy of a memory is its largest similarity to another one or to the object's
    first prompted frame. The similarity is the mean, over positions, of the cosine between
    the channels. Doubtful memories are dropped before reliable ones, then those of higher
    redundancy; of equal ones the newer is dropped.

    Args:
        maps: (B, N, C, P) memory features, oldest first, of any float dtype.
        reliable: (B, N) bool.
        first_prompt: (B, C, P) memory features of the first prompted frame.

    Returns:
        (B, N - 1) int64 indices, ascending.
    """
    count, positions = maps.shape[1], maps.shape[3]
    together = torch.cat([maps, first_prompt[:, None]], dim=1).float()
    unit = together / together.square().sum(dim=2, keepdim=True).sqrt().clamp_min(_SHORTEST)
    flat = unit.flatten(2)
    similarity = flat @ flat.transpose(1, 2) / positions
    similarity = (similarity + similarity.transpose(1, 2)) / 2  # exactly symmetric
    itself = torch.eye(count + 1, dtype=torch.bool, device=maps.device)
    redundancy = similarity.masked_fill(itself, -torch.inf)[:, :count].amax(dim=2)
    rank = redundancy + 4.0 * (~reliable)  # above every cosine
    newest_first = rank.flip(1).argsort(dim=1, descending=True, stable=True)
    return _all_but(count - 1 - newest_first[:, :1], count)


def _all_but(dropped: torch.Tensor, count: int) -> torch.Tensor:
    """Return the indices 0 to `count` - 1 without the (B, 1) dropped ones, ascending."""
    index = torch.arange(count - 1, device=dropped.device)
    return index + (index >= dropped)
