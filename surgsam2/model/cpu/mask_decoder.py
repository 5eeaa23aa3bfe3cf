"""The mask decoder for objects that are tracked, one by one.

The feature maps are enlarged by transposed convolutions that do not overlap: each is a linear
layer, and its output may stay in the order in which it comes. Only the masks are put in place.
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
from surgsam2.model.cpu.weight_cache import remembered


def supports(decoder: MaskDecoder) -> bool:
    """Whether `decode` can stand in for a decoder: built as in SAM 2."""
    exact = (isinstance(x, nn.GELU) and x.approximate == "none" for x in _activations(decoder))
    return all(exact) and decoder.pred_obj_scores and two_way.supports(decoder)


@dataclass(frozen=True)
class Frame:
    """What the objects of a frame share."""

    places: two_way.Places
    finer: list[Tensor]
    """(4 P, C1) and (4 P, 4 C0) maps, in the order of the enlarged features; or none."""

    @classmethod
    def of(cls, places: two_way.Places, high_res: list[Tensor]) -> Frame:
        """From the image encoder's finer maps; none for a decoder that does not use them."""
        finer = []
        if high_res:
            finest, finer_one = (x[0].permute(1, 2, 0) for x in high_res)
            # row and column of a pixel, then of its quarters, then of theirs
            split = finer_one.unflatten(1, (-1, 2)).unflatten(0, (-1, 2))
            finer.append(split.transpose(1, 2).flatten(0, 3))
            split = finest.unflatten(1, (-1, 2, 2)).unflatten(0, (-1, 2, 2))
            split = split.permute(0, 3, 1, 4, 2, 5, 6)
            finer.append(split.flatten(4).flatten(0, 3))
        return cls(places, finer)


class Choice(NamedTuple):
    """The one mask of an object that counts."""

    mask: Tensor
    """(1, 1, 4h, 4w) logits."""
    iou: Tensor
    """(1,) its estimated IoU."""
    token: Tensor
    """(1, C) what the object pointer is made from."""
    presence: Tensor
    """(1, 1) logit."""


def decode(
    decoder: MaskDecoder, frame: Frame, pixels: Tensor, prompt: Tensor, *, multimask: bool
) -> Choice:
    """What the decoder gives for one object, of several masks that with the best estimated IoU.

    Args:
        pixels: (P, C) conditioned features, a dense prompt's included.
        prompt: (N, C) sparse prompt.
        multimask: choose among the masks for ambiguous prompts, not the single one.
    """
    own = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens)
    tokens = torch.cat([*(x.weight for x in own), prompt])
    tokens, pixels = two_way.transform(decoder.transformer, pixels, frame.places, tokens)
    presence = decoder.pred_obj_score_head(tokens[None, 0])
    ious = decoder.iou_prediction_head(tokens[None, 1])
    of_masks = tokens[2 : 2 + decoder.num_mask_tokens]
    pixels = _enlarged(decoder, frame, pixels)

    def mask(index: int) -> Tensor:
        hyper = decoder.output_hypernetworks_mlps[index](of_masks[None, index])
        return _in_place(linear(hyper, pixels), frame.places.size)[None]

    if multimask:
        best = 1 + int(ious[0, 1:].argmax())
        chosen = best if decoder.use_multimask_token_for_obj_ptr else 0
        return Choice(mask(best), ious[:, best], of_masks[None, chosen], presence)
    if decoder.dynamic_multimask_via_stability:
        masks = torch.cat([mask(k) for k in range(decoder.num_mask_tokens)], dim=1)
        stable, iou = decoder._dynamic_multimask_via_stability(masks, ious)
        return Choice(stable, iou[:, 0], of_masks[None, 0], presence)
    return Choice(mask(0), ious[:, 0], of_masks[None, 0], presence)


def _enlarged(decoder: MaskDecoder, frame: Frame, pixels: Tensor) -> Tensor:
    """(P, C) to (16 P, C / 8): the parts of a pixel one after the other."""
    first, norm, _, second, _ = decoder.output_upscaling
    x = linear(pixels, *_as_linear(first)).view(-1, first.out_channels)
    if frame.finer:
        x.add_(frame.finer[0])
    x = F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps)
    x = linear(torch.ops.aten.gelu_(x), *_as_linear(second))
    if frame.finer:
        x.add_(frame.finer[1])
    return torch.ops.aten.gelu_(x).view(-1, second.out_channels)


def _activations(decoder: MaskDecoder) -> tuple[nn.Module, nn.Module]:
    _, _, first, _, second = decoder.output_upscaling
    return first, second


def _as_linear(conv: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """(4 N, K) weight and (4 N,) bias of a transposed convolution of kernel and stride 2."""
    weight, bias = conv.weight, conv.bias
    assert bias is not None
    return (
        remembered(conv, "weight", (weight,), lambda: weight.permute(2, 3, 1, 0).flatten(0, 2)),
        remembered(conv, "bias", (bias,), lambda: bias.repeat(4)),
    )


def _in_place(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """(M, 16 P) to (M, 4h, 4w)."""
    split = masks.view(-1, *size, 2, 2, 2, 2)
    return split.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(1, 3)
