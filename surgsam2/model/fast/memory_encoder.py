"""The memory encoder for many objects of one frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sam2.modeling.memory_encoder import CXBlock, MemoryEncoder
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn

from surgsam2.model.fast.products import pixelwise, through

_FEW_CHANNELS = 8
"""For fewer, a pass over the whole map for every step costs less than a norm of every pixel."""


def supports(encoder: MemoryEncoder) -> bool:
    """Whether `encode` can stand in for an encoder: built as in SAM 2."""
    return isinstance(encoder.fuser.proj, nn.Identity)


def image_share(encoder: MemoryEncoder, tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """What the objects of a frame share: (P, C) features, of (h, w), to (h, w, C)."""
    return pixelwise(encoder.pix_feat_proj, tokens).unflatten(0, size)


def encode(encoder: MemoryEncoder, image: Tensor, mask: Tensor) -> Tensor:
    """What the encoder gives for one object.

    Args:
        image: from `image_share`.
        mask: (1, 1, S, S), as the encoder wants it (scaled sigmoid).

    Returns:
        (1, Cm, h, w).
    """
    x = image + _downsampled(encoder.mask_downsampler.encoder, mask)
    for block in encoder.fuser.layers:
        x = _mix(block, x)
    if isinstance(encoder.out_proj, nn.Conv2d):
        x = pixelwise(encoder.out_proj, x)
    return x.permute(0, 3, 1, 2).contiguous()


def _downsampled(layers: nn.Sequential, x: Tensor) -> Tensor:
    """(1, 1, S, S) mask to (1, h, w, C)."""
    *stages, last = layers.children()
    assert isinstance(last, nn.Conv2d)
    for layer in stages:
        if not isinstance(layer, LayerNorm2d):
            x = layer(x)
        elif x.shape[1] < _FEW_CHANNELS:
            x = layer(x.contiguous())
        else:
            x = _norm(layer, x.contiguous(memory_format=torch.channels_last))
    return pixelwise(last, x.permute(0, 2, 3, 1))


def _mix(block: CXBlock, x: Tensor) -> Tensor:
    mixed = _norm(block.norm, block.dwconv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    mixed = through(block.pwconv2, through(block.pwconv1, mixed, "gelu"))
    if block.gamma is not None:
        mixed.mul_(block.gamma)
    return mixed.add_(x)


def _norm(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """Over the channels of (B, C, H, W), channels last in memory."""
    normed = F.layer_norm(
        x.permute(0, 2, 3, 1), norm.weight.shape, norm.weight, norm.bias, norm.eps
    )
    return normed.permute(0, 3, 1, 2)
