"""Hiera, the image encoder's trunk, without the arithmetic of padded tokens."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock
from torch import Tensor

from surgsam2.model.cpu.hiera_attention import AttentionWeights, add_attention, max_pool
from surgsam2.model.cpu.matmul import (
    add_linear,
    apply_conv,
    apply_layer,
    layer_weights,
    linear,
)
from surgsam2.model.cpu.parallel import pause_for_objects
from surgsam2.model.cpu.weight_cache import cached
from surgsam2.model.cpu.windows import Windows, change_order, row_order, window_order

_STRIP_VALUES = 2**20
"""Number of values of the widest layer of a block that are in memory at once."""


class Stage(NamedTuple):
    """The output of a stage of the trunk."""

    tokens: Tensor
    """(N, C) float32 features."""
    windows: Windows
    """Order of the tokens."""

    def projected(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply a 1x1 convolution of weight (K, C, ...) and bias (K,): a map of (H, W, K)."""
        x = linear(self.tokens, weight.flatten(1), bias)
        x = _reorder(x, row_order(self.windows))
        return x.view(self.windows.height, self.windows.width, -1)


def encode(trunk: Hiera, images: Tensor, dtype: torch.dtype) -> list[Stage]:
    """Compute the trunk's output at the end of each stage.

    Args:
        trunk: sam2's module.
        images: (1, 3, S, S) float32, fastest with channels last in memory.
        dtype: float32 or bfloat16, the precision of products. Tokens stay float32 from block to
            block.
    """
    embedded = apply_conv(trunk.patch_embed.proj, images.to(dtype))[0].permute(1, 2, 0).float()
    height, width = embedded.shape[:2]
    windows = Windows(height, width, trunk.window_spec[0])
    position = cached(
        trunk,
        f"position {height}x{width}",
        (trunk.pos_embed, trunk.pos_embed_window),
        lambda: _position(trunk, windows),
    )
    tokens = _reorder(embedded.flatten(0, 1), window_order(windows)).add_(position)
    stages = []
    for index, block in enumerate(trunk.blocks):
        pause_for_objects()
        if block.window_size not in (0, windows.size):
            wanted = Windows(windows.height, windows.width, block.window_size)
            tokens, windows = _reorder(tokens, change_order(windows, wanted)), wanted
        weights = AttentionWeights.of(block.attn, dtype)
        parts = [apply_block(block, weights, *strip) for strip in _strips(tokens, windows, block)]
        if block.dim != block.dim_out:
            tokens = torch.cat(parts)
        if block.q_stride:
            windows = windows.halved()
        if index in trunk.stage_ends:
            stages.append(Stage(tokens, windows))
    return stages


def apply_block(
    block: MultiScaleBlock, weights: AttentionWeights, tokens: Tensor, windows: Windows
) -> Tensor:
    """Apply a block to (N, C) float32 tokens, in place where it keeps the number of channels.

    Args:
        block: sam2's module.
        weights: of the block's attention; their dtype is the precision of products.
        tokens: in the order of `windows`.
        windows: division of the tokens.

    Returns:
        (N, C'), or (N / 4, C') where the block pools.
    """
    dtype = weights.projection.dtype
    normed = block.norm1(tokens).to(dtype)
    if block.dim != block.dim_out:
        tokens = apply_layer(block.proj, normed)
        if block.q_stride:
            tokens = max_pool(tokens, windows)
        tokens = tokens.float()
    add_attention(tokens, weights, normed, windows, everywhere=block.window_size == 0)
    first, second = block.mlp.layers
    hidden = apply_layer(first, block.norm2(tokens).to(dtype), "gelu")
    return add_linear(tokens, hidden, *layer_weights(second, hidden.dtype))


def _position(trunk: Hiera, windows: Windows) -> Tensor:
    """Compute the position encoding of the tokens, (N, C) in the order of `windows`."""
    encoding: Tensor = trunk._get_pos_embed((windows.height, windows.width))[0]
    return encoding.flatten(0, 1)[window_order(windows)]


def _reorder(tokens: Tensor, positions: Tensor) -> Tensor:
    """Return the rows of (N, C) tokens at (N,) positions."""
    # index_select copies whole rows; indexing with a tensor takes three times as long
    return tokens.index_select(0, positions)


def _strips(
    tokens: Tensor, windows: Windows, block: MultiScaleBlock
) -> list[tuple[Tensor, Windows]]:
    """Split the tokens into strips of whole windows, which do not attend to each other.

    The widest layer of a strip stays in the processor's cache. That of a whole map of the first
    stage has 38 MB at 512 pixels, and its memory is new to the process at every frame.
    """
    size = windows.size
    if block.window_size == 0 or windows.height % size or windows.width % size:
        return [(tokens, windows)]
    widest = block.dim_out * (1 if block.q_stride else 4)  # per token; pooling leaves a quarter
    strips = math.ceil(len(tokens) * widest / _STRIP_VALUES)
    parts = tokens.split(math.ceil(len(tokens) / size**2 / strips) * size**2)
    return [(part, Windows(size, len(part) // size, size)) for part in parts]
