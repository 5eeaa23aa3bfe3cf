"""The image encoder's trunk, Hiera, without computing its padding."""

from __future__ import annotations

import math

from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock
from torch import Tensor

from surgsam2.model.fast.constants import remembered
from surgsam2.model.fast.hiera_attention import Weights, attend, joined, pooled
from surgsam2.model.fast.lanes import give_way
from surgsam2.model.fast.products import add_product, through
from surgsam2.model.fast.windows import Windows, back, change, order

_FLOATS_AT_A_TIME = 2**20
"""Of the widest layer of a block."""


def encode(trunk: Hiera, images: Tensor) -> list[Tensor]:
    """What ``trunk(images)`` gives, channels last.

    Args:
        images: (1, 3, S, S) float32.

    Returns:
        A map (H, W, C) at the end of each stage.
    """
    embedded = trunk.patch_embed(images)[0]
    height, width = embedded.shape[:2]
    position = remembered(
        trunk,
        f"position {height}x{width}",
        (trunk.pos_embed, trunk.pos_embed_window),
        lambda: trunk._get_pos_embed((height, width))[0],
    )
    windows = Windows(height, width, trunk.window_spec[0])
    tokens = (embedded + position).flatten(0, 1)
    # `index_select` copies whole rows, indexing with a tensor takes three times as long
    tokens = tokens.index_select(0, order(windows))
    maps = []
    for index, block in enumerate(trunk.blocks):
        give_way()
        if block.window_size not in (0, windows.size):
            wanted = Windows(windows.height, windows.width, block.window_size)
            tokens, windows = tokens.index_select(0, change(windows, wanted)), wanted
        weights = Weights.of(block.attn)
        parts = [_block(block, weights, *strip) for strip in _strips(tokens, windows, block)]
        if block.dim != block.dim_out:
            tokens = joined(parts)
        if block.q_stride:
            windows = windows.halved()
        if index in trunk.stage_ends:
            image = tokens.index_select(0, back(windows))
            maps.append(image.unflatten(0, (windows.height, windows.width)))
    return maps


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
