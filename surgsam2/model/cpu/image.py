"""The image encoder (trunk and neck), and the decoder's convolutions of the finer maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.sam.mask_decoder import MaskDecoder
from torch import Tensor

from surgsam2.model.cpu import hiera
from surgsam2.model.cpu.matmul import compose_layers, convolve, layer_weights, linear
from surgsam2.model.cpu.windows import Windows
from surgsam2.model.efficientnet import EfficientNetLite

_COARSE = 2
"""Level of the map that memory attention works on; the coarser level is only added to it."""


def supports(encoder: ImageEncoder, size: int) -> bool:
    """Return whether `encode` can replace an encoder for square images of `size` pixels.

    The encoder must be built as in SAM 2 or as the built-in model's, and pooling must stay within
    attention windows.
    """
    trunk, neck = encoder.trunk, encoder.neck
    if not isinstance(neck, FpnNeck) or any(c.conv.kernel_size != (1, 1) for c in neck.convs):
        return False
    if isinstance(trunk, EfficientNetLite):
        levels = (len(neck.convs), encoder.scalp, neck.fpn_top_down_levels)
        return levels == (_COARSE + 1, 0, [_COARSE])
    if not isinstance(trunk, Hiera):
        return False
    side, even = size // 4, True
    for block in trunk.blocks:
        if block.q_stride:
            even &= tuple(block.q_stride) == (2, 2)
            even &= Windows(side, side, block.window_size or 2).even
            side //= 2
    return (
        even
        and encoder.scalp == 1
        and len(neck.convs) == _COARSE + 2
        and neck.fpn_top_down_levels == [_COARSE, _COARSE + 1]
        and neck.fpn_interp_model == "nearest"
        and neck.fuse_type == "sum"
    )


class Maps(NamedTuple):
    """The features of one image in float32, channels last in memory."""

    coarse: Tensor
    """(1, C, h, w)."""
    finer: list[Tensor]
    """(1, C0, 4h, 4w) and (1, C1, 2h, 2w); none for a mask decoder that does not use them."""


def encode(encoder: ImageEncoder, decoder: MaskDecoder, images: Tensor, dtype: torch.dtype) -> Maps:
    """Compute the features of an image, and the decoder's 1x1 convolutions of them.

    Args:
        encoder: sam2's module.
        decoder: sam2's module.
        images: (1, 3, S, S) float32.
        dtype: float32 or bfloat16, the precision of the trunk's products.
    """
    laterals = [conv.conv for conv in reversed(encoder.neck.convs)]
    project = _projections(encoder.trunk, images, dtype)
    coarse = project(_COARSE, *layer_weights(laterals[_COARSE], torch.float32))
    if len(laterals) > _COARSE + 1:
        coarsest = project(_COARSE + 1, *layer_weights(laterals[_COARSE + 1], torch.float32))
        squares = coarse.unflatten(1, (-1, 2)).unflatten(0, (-1, 2))
        squares += coarsest[:, None, :, None]
    finer = []
    if decoder.use_high_res_features:
        for level, conv in enumerate((decoder.conv_s0, decoder.conv_s1)):
            composed = compose_layers(conv, laterals[level], conv, torch.float32)
            finer.append(project(level, *composed).permute(2, 0, 1)[None])
    return Maps(coarse.permute(2, 0, 1)[None], finer)


def _projections(
    trunk: Hiera | EfficientNetLite, images: Tensor, dtype: torch.dtype
) -> Callable[[int, Tensor, Tensor], Tensor]:
    """Compute the trunk's maps of an image.

    Returns:
        A function that applies the weight and bias of a linear layer to the map of a level, the
        finest first: (H, W, N) float32.
    """
    if isinstance(trunk, Hiera):
        stages = hiera.encode(trunk, images, dtype)
        return lambda level, weight, bias: stages[level].projected(weight, bias)
    maps = trunk(images.to(dtype), convolve)
    return lambda level, weight, bias: linear(
        maps[level][0].permute(1, 2, 0).float(), weight.flatten(1), bias
    )
