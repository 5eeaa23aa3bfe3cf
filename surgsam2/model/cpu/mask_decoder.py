"""The mask decoder for tracked objects, one at a time.

The feature maps are enlarged by transposed convolutions that do not overlap: each is a linear
layer whose output may stay in the order in which it comes. Only the masks are reordered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sam2.modeling.sam.mask_decoder import MaskDecoder
from torch import Tensor, nn

from surgsam2.model.cpu import two_way
from surgsam2.model.cpu.matmul import linear
from surgsam2.model.cpu.weight_cache import cached


def supports(decoder: MaskDecoder) -> bool:
    """Return whether `decode` can replace a decoder: it is built as in SAM 2."""
    _, _, first, _, second = decoder.output_upscaling
    exact = (isinstance(x, nn.GELU) and x.approximate == "none" for x in (first, second))
    return all(exact) and decoder.pred_obj_scores and two_way.supports(decoder)


@dataclass(frozen=True)
class FrameInputs:
    """The inputs that all objects of a frame share."""

    position: two_way.PositionEncoding
    """Position encoding of the coarse map."""
    high_res: list[Tensor]
    """(4 P, C1) and (4 P, 4 C0) maps, in the order of the enlarged features; or none."""

    @classmethod
    def of(cls, position: two_way.PositionEncoding, high_res: list[Tensor]) -> FrameInputs:
        """Reorder the image encoder's finer maps.

        Args:
            position: of the coarse map's pixels.
            high_res: (1, C0, 4h, 4w) and (1, C1, 2h, 2w); none for a decoder that does not use
                them.
        """
        reordered = []
        if high_res:
            finest, finer = (x[0].permute(1, 2, 0) for x in high_res)
            # row and column of a coarse pixel, then within it, then within its quarters
            split = finer.unflatten(1, (-1, 2)).unflatten(0, (-1, 2))
            reordered.append(split.transpose(1, 2).flatten(0, 3))
            split = finest.unflatten(1, (-1, 2, 2)).unflatten(0, (-1, 2, 2))
            split = split.permute(0, 3, 1, 4, 2, 5, 6)
            reordered.append(split.flatten(4).flatten(0, 3))
        return cls(position, reordered)


class ChosenMask(NamedTuple):
    """The decoder's output for the chosen mask of one object."""

    mask: Tensor
    """(1, 1, 4h, 4w) float32 logits."""
    iou: Tensor
    """(1,) predicted IoU."""
    token: Tensor
    """(1, C) token that the object pointer is made from."""
    presence: Tensor
    """(1, 1) logit."""


def decode(
    decoder: MaskDecoder, frame: FrameInputs, pixels: Tensor, prompt: Tensor, *, multimask: bool
) -> ChosenMask:
    """Predict the mask of one object.

    Args:
        decoder: sam2's module.
        frame: inputs that the objects share.
        pixels: (P, C) conditioned features, with the dense prompt added.
        prompt: (N, C) sparse prompt.
        multimask: choose the mask of the highest predicted IoU among those for ambiguous
            prompts, instead of the single one.
    """
    learned = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens)
    tokens = torch.cat([*(x.weight for x in learned), prompt])
    tokens, pixels = two_way.transform(decoder.transformer, pixels, frame.position, tokens)
    presence = decoder.pred_obj_score_head(tokens[None, 0])
    ious = decoder.iou_prediction_head(tokens[None, 1])
    mask_tokens = tokens[2 : 2 + decoder.num_mask_tokens]
    pixels = _enlarge(decoder, frame, pixels)

    def mask(index: int) -> Tensor:
        weights = decoder.output_hypernetworks_mlps[index](mask_tokens[None, index])
        return _reorder_masks(linear(weights, pixels), frame.position.size)[None]

    if multimask:
        best = 1 + int(ious[0, 1:].argmax())
        chosen = best if decoder.use_multimask_token_for_obj_ptr else 0
        return ChosenMask(mask(best), ious[:, best], mask_tokens[None, chosen], presence)
    if decoder.dynamic_multimask_via_stability:
        masks = torch.cat([mask(k) for k in range(decoder.num_mask_tokens)], dim=1)
        stable, iou = decoder._dynamic_multimask_via_stability(masks, ious)
        return ChosenMask(stable, iou[:, 0], mask_tokens[None, 0], presence)
    return ChosenMask(mask(0), ious[:, 0], mask_tokens[None, 0], presence)


def _enlarge(decoder: MaskDecoder, frame: FrameInputs, pixels: Tensor) -> Tensor:
    """Enlarge (P, C) features to (16 P, C / 8); the parts of a pixel follow each other."""
    first, norm, _, second, _ = decoder.output_upscaling
    x = linear(pixels, *_linear_weights(first)).view(-1, first.out_channels)
    if frame.high_res:
        x.add_(frame.high_res[0])
    x = F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps)
    x = linear(torch.ops.aten.gelu_(x), *_linear_weights(second))
    if frame.high_res:
        x.add_(frame.high_res[1])
    return torch.ops.aten.gelu_(x).view(-1, second.out_channels)


def _linear_weights(conv: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Return a transposed convolution of kernel and stride 2 as a layer: (4 N, K) and (4 N,)."""
    weight, bias = conv.weight, conv.bias
    assert bias is not None
    return (
        cached(conv, "weight", (weight,), lambda: weight.permute(2, 3, 1, 0).flatten(0, 2)),
        cached(conv, "bias", (bias,), lambda: bias.repeat(4)),
    )


def _reorder_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring (M, 16 P) logits into row-major order: (M, 4h, 4w)."""
    split = masks.view(-1, *size, 2, 2, 2, 2)
    return split.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(1, 3)
