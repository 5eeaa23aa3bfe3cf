"""The tensors that pass between the four steps of a tracked frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ImageFeatures:
    """The image encoder's output for one frame, shared by all objects of the frame."""

    tokens: torch.Tensor
    """(P, 1, C) features of the lowest resolution, P = h * w positions in row-major order."""
    position: torch.Tensor
    """(P, 1, C) float32 position encoding of the tokens."""
    high_res: list[torch.Tensor]
    """Finer feature maps for the mask decoder: (1, C0, 4h, 4w) and (1, C1, 2h, 2w)."""
    size: tuple[int, int]
    """(h, w), the size of the map of the lowest resolution."""
    picture: torch.Tensor | None = None
    """(1, 1, 8h, 8w) float32 small grey picture of the frame, for a network with mask motion."""
    target_inputs: torch.Tensor | None = None
    """(1, N, 2h, 2w) float32, `TargetModel.inputs` of the frame, for a network with one."""

    def tokens_for(self, batch: int) -> torch.Tensor:
        """Return the tokens repeated for each object, (P, batch, C), without a copy."""
        return self.tokens.expand(-1, batch, -1)

    def map_for(self, batch: int) -> torch.Tensor:
        """Return the tokens as one feature map per object, (batch, C, h, w)."""
        return self.tokens_for(batch).permute(1, 2, 0).unflatten(2, self.size)

    def high_res_for(self, batch: int) -> list[torch.Tensor] | None:
        """Return the finer maps repeated for each object, or None where there are none."""
        return [x.expand(batch, -1, -1, -1) for x in self.high_res] or None


@dataclass(frozen=True)
class Decoded:
    """The mask decoder's output for B objects of one frame."""

    low_res: torch.Tensor
    """(B, 1, S/4, S/4) float32 mask logits, where S is the network's image size."""
    high_res: torch.Tensor
    """(B, 1, S, S) float32 mask logits."""
    pointers: torch.Tensor
    """(B, C) object pointers."""
    presence_logits: torch.Tensor
    """(B, 1) logits; an object is visible where its logit is above 0."""
    ious: torch.Tensor
    """(B,) predicted IoU of the masks."""


@dataclass(frozen=True)
class MemoryBatch:
    """The memories of B objects that all have the same number of them."""

    maps: torch.Tensor
    """(B, M, Cm, h, w) spatial memories in SAM 2's order, M >= 1. With mask motion each has the
    channels of `MaskMotion.memory` after those of the memory encoder."""
    map_ages: torch.Tensor
    """(B, M) int64: 0 for a prompted frame, else how many frames back, 1 to num_maskmem - 1."""
    pointers: torch.Tensor
    """(B, K, C) object pointers."""
    pointer_ages: torch.Tensor
    """(B, K) float32: how many frames back; signed for prompted frames where SAM 2 does so."""
    long_term: int = 0
    """Number of maps at the start, with age 0, that pruning neither counts nor removes."""
    previous: torch.Tensor | None = None
    """(B, 112, h, w), `MaskMotion.memory` of the nearest earlier frame, whose mask motion carries;
    None for that of the last map. Without mask motion it has no channels."""
    anchor: torch.Tensor | None = None
    """The same of the prompted frame that the displacement in `previous` leads to; None for that
    of the first map."""
    target: torch.Tensor | None = None
    """(B, N, N + 1) float32 normal equations of the objects, from `target_model.joined`; None
    without a target model."""


@dataclass(frozen=True)
class EncodedMemories:
    """What memory attention reads for B objects: K of M memory maps, and Q pointer tokens."""

    maps: torch.Tensor
    """(B, M, Cm, P) spatial memories, of any float dtype."""
    kept: torch.Tensor
    """(B, K) int64 indices of the maps that are attended to."""
    time: torch.Tensor
    """(B, K, Cm) time encodings of these maps."""
    position: torch.Tensor
    """(Cm, P) encoding of the positions within a map."""
    pointers: torch.Tensor
    """(B, Q, Cm) tokens of the object pointers."""
    pointer_time: torch.Tensor
    """(B, Q, Cm) time encodings of the pointer tokens."""
