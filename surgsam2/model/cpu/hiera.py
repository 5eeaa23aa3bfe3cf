"""The image encoder's trunk, Hiera, without computing its padding."""

from __future__ import annotations

import math
from typing import NamedTuple

from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock
from torch import Tensor

from surgsam2.model.cpu.hiera_attention import Weights, attend, joined, pooled
from surgsam2.model.cpu.matmul import add_product, linear, through
from surgsam2.model.cpu.parallel_objects import give_way
from surgsam2.model.cpu.weight_cache import remembered
from surgsam2.model.cpu.windows import Windows, back, change, order

_FLOATS_AT_A_TIME = 2**20
"""Of the widest layer of a block."""


class Stage(NamedTuple):
    """What a stage ends with."""

    tokens: Tensor
    """(N, C)."""
    windows: Windows
    """Their order."""

    def projected(self, weight: Tensor, bias: Tensor) -> Tensor:
        """The map (H, W, K) that a 1x1 convolution of (K, C) and (K,) makes of the stage's."""
        x = _reordered(linear(self.tokens, weight, bias), back(self.windows))
        return x.view(self.windows.height, self.windows.width, -1)


def encode(trunk: Hiera, images: Tensor) -> list[Stage]:
    """What ``trunk(images)`` gives: the maps at the end of each stage, as tokens.

    Args:
        images: (1, 3, S, S) float32, fastest with channels last in memory.
    """
    embedded = trunk.patch_embed(images)[0]
    height, width = embedded.shape[:2]
    windows = Windows(height, width, trunk.window_spec[0])
    position = remembered(
        trunk,
        f"position {height}x{width}",
        (trunk.pos_embed, trunk.pos_embed_window),
        lambda: trunk._get_pos_embed((height, width))[0].flatten(0, 1)[order(windows)],
    )
    tokens = _reordered(embedded.flatten(0, 1), order(windows)).add_(position)
    stages = []
    for index, block in enumerate(trunk.blocks):
        give_way()
        if block.window_size not in (0, windows.size):
            wanted = Windows(windows.height, windows.width, block.window_size)
            tokens, windows = _reordered(tokens, change(windows, wanted)), wanted
        weights = Weights.of(block.attn)
        parts = [_block(block, weights, *strip) for strip in _strips(tokens, windows, block)]
        if block.dim != block.dim_out:
            tokens = joined(parts)
        if block.q_stride:
            windows = windows.halved()
        if index in trunk.stage_ends:
            stages.append(Stage(tokens, windows))
    return stages


def _reordered(tokens: Tensor, positions: Tensor) -> Tensor:
    # it copies whole rows; indexing with a tensor takes three times as long
    return tokens.index_select(0, positions)


def _strips(
    tokens: Tensor, windows: Windows, block: MultiScaleBlock
) -> list[tuple[Tensor, Windows]]:
    """Tokens in parts that do not attend to each other, each the windows of a strip.

    The widest layer of a part stays in the processor's cache. That of a whole map of the first
    stage has 38 MB at 512 pixels, and its memory is new to the process at every frame.
    """
    size = windows.size
    if block.window_size == 0 or windows.height % size or windows.width % size:
        return [(tokens, windows)]
    widest = block.dim_out * (1 if block.q_stride else 4)  # for a token, which pooling quarters
    strips = math.ceil(len(tokens) * widest / _FLOATS_AT_A_TIME)
    parts = tokens.split(math.ceil(len(tokens) / size**2 / strips) * size**2)
    return [(part, Windows(size, len(part) // size, size)) for part in parts]


def _block(block: MultiScaleBlock, weights: Weights, tokens: Tensor, windows: Windows) -> Tensor:
    """In place, where the number of channels stays."""
    normed = block.norm1(tokens)
    if block.dim != block.dim_out:
        tokens = through(block.proj, normed)
        if block.q_stride:
            tokens = pooled(tokens, windows)
    attend(tokens, weights, normed, windows, everywhere=block.window_size == 0)
    first, second = block.mlp.layers
    hidden = through(first, block.norm2(tokens), "gelu")
    return add_product(tokens, hidden, second.weight, second.bias)
