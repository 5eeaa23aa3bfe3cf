"""The memory encoder for many objects of one frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sam2.modeling.memory_encoder import CXBlock, MemoryEncoder
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn

from surgsam2.model.cpu.matmul import add_product, matrix, pixelwise, through
from surgsam2.model.cpu.weight_cache import remembered

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
    *blocks, last = encoder.fuser.layers
    for block in blocks:
        add_product(x.view(-1, x.shape[-1]), _hidden(block, x), *_rest(block))
    hidden, project = _hidden(last, x), None
    if isinstance(encoder.out_proj, nn.Conv2d):
        # of what the last block adds only the channels of a memory are made
        project = encoder.out_proj
        x = pixelwise(project, x)
    add_product(x.view(-1, x.shape[-1]), hidden, *_rest(last, project))
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


def _hidden(block: CXBlock, x: Tensor) -> Tensor:
    """(1, h, w, C) to (P, 4 C)."""
    mixed = _norm(block.norm, block.dwconv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    return through(block.pwconv1, mixed.flatten(0, 2), "gelu")


def _rest(block: CXBlock, project: nn.Conv2d | None = None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a block's last layer, its scale and a projection as one layer."""
    layer, gamma = block.pwconv2, block.gamma
    weights = [x for x in (layer.weight, layer.bias, gamma) if x is not None]
    if project is not None:
        weights.append(project.weight)

    def joined(x: Tensor) -> Tensor:
        scaled = x if gamma is None else (gamma * x.t()).t()
        return scaled if project is None else matrix(project)[0] @ scaled

    return (
        remembered(block, "weight", weights, lambda: joined(layer.weight)),
        remembered(block, "bias", weights, lambda: joined(layer.bias)),
    )


def _norm(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """Over the channels of (B, C, H, W), channels last in memory."""
    normed = F.layer_norm(
        x.permute(0, 2, 3, 1), norm.weight.shape, norm.weight, norm.bias, norm.eps
    )
    return normed.permute(0, 3, 1, 2)
