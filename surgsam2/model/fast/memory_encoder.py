"""The memory encoder for many objects of one frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sam2.modeling.memory_encoder import CXBlock, MemoryEncoder
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn

from surgsam2.model.fast.products import pixelwise, through


def encode(encoder: MemoryEncoder, tokens: Tensor, size: tuple[int, int], masks: Tensor) -> Tensor:
    """What the encoder gives for B objects; the image's share is computed once.

    Args:
        tokens: (P, C) features of the frame, `size` their (h, w).
        masks: (B, 1, S, S) masks as the encoder wants them (scaled sigmoid).

    Returns:
        (B, Cm, h, w).
    """
    pixels = pixelwise(encoder.pix_feat_proj, tokens).unflatten(0, size)
    x = pixels + _downsampled(encoder.mask_downsampler.encoder, masks)
    for block in encoder.fuser.layers:
        x = _mix(block, x)
    if isinstance(encoder.out_proj, nn.Conv2d):
        x = pixelwise(encoder.out_proj, x)
    return x.permute(0, 3, 1, 2).contiguous()


def supports(encoder: MemoryEncoder) -> bool:
    """Whether `encode` can stand in for an encoder: built as in SAM 2."""
    return isinstance(encoder.fuser.proj, nn.Identity)


def _downsampled(layers: nn.Sequential, masks: Tensor) -> Tensor:
    """(B, 1, S, S) masks to (B, h, w, C)."""
    *stages, last = layers.children()
    assert isinstance(last, nn.Conv2d)
    x = masks.contiguous(memory_format=torch.channels_last)
    for layer in stages:
        x = _norm(layer, x) if isinstance(layer, LayerNorm2d) else layer(x)
    return pixelwise(last, x.permute(0, 2, 3, 1))


def _mix(block: CXBlock, x: Tensor) -> Tensor:
    mixed = _norm(block.norm, block.dwconv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    mixed = through(block.pwconv2, through(block.pwconv1, mixed, "gelu"))
    return x + (mixed if block.gamma is None else block.gamma * mixed)


def _norm(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """Over the channels of (B, C, H, W), channels last in memory."""
    normed = F.layer_norm(
        x.permute(0, 2, 3, 1), norm.weight.shape, norm.weight, norm.bias, norm.eps
    )
    return normed.permute(0, 3, 1, 2)
