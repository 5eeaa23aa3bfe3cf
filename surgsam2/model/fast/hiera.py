"""The image encoder's trunk, Hiera, without computing its padding."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import Hiera, MultiScaleAttention, MultiScaleBlock
from torch import Tensor

from surgsam2.model.fast.attention import attention
from surgsam2.model.fast.constants import remembered
from surgsam2.model.fast.lanes import give_way
from surgsam2.model.fast.products import add_product, linear, through
from surgsam2.model.fast.windows import Group, Windows, back, change, order

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
        parts = [_block(block, *strip) for strip in _strips(tokens, windows, block)]
        if block.dim != block.dim_out:
            tokens = _joined(parts)
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
    across = max(_FLOATS_AT_A_TIME // (4 * block.dim_out * size**2), 1)
    parts = tokens.split(across * size**2)
    return [(part, Windows(size, len(part) // size, size)) for part in parts]


def _block(block: MultiScaleBlock, tokens: Tensor, windows: Windows) -> Tensor:
    """In place, where the number of channels stays."""
    normed = block.norm1(tokens)
    if block.dim != block.dim_out:
        tokens = through(block.proj, normed)
        if block.q_stride:
            tokens = torch.cat([_pool(tokens[g.tokens], g) for g in windows.groups()])
    _attend(tokens, block.attn, normed, windows, everywhere=block.window_size == 0)
    first, second = block.mlp.layers
    hidden = through(first, block.norm2(tokens), "gelu")
    return add_product(tokens, hidden, second.weight, second.bias)


def _attend(
    place: Tensor, attn: MultiScaleAttention, tokens: Tensor, windows: Windows, *, everywhere: bool
) -> None:
    """Adds what the tokens find to `place`."""
    # keys without their bias: it would raise all scores of a query alike.
    # Values without theirs: a query's weights add up to 1, so it is what the output gains
    bias, _, of_values = attn.qkv.bias.view(3, -1)
    joint = linear(tokens, attn.qkv.weight)
    joint[:, : len(bias)] += bias
    query, key, value = joint.view(len(tokens), 3, attn.num_heads, -1).unbind(1)
    groups = windows.groups()
    if everywhere:
        if attn.q_pool:
            query = torch.cat([_pool(query[g.tokens], g) for g in groups])
        heads = range(attn.num_heads)
        mixed = torch.cat([attention(query[:, h], key[:, h], value[:, h]) for h in heads], dim=-1)
    else:
        parts = []
        for group in groups:
            q, k, v = (x[group.tokens] for x in (query, key, value))
            if attn.q_pool:
                q = _pool(q, group)
            parts.append(_attend_in_windows(q, k, v, group, windows.size))
        mixed = _joined(parts)
    proj = attn.proj
    weights = (proj.weight, proj.bias, of_values)
    offset = remembered(attn, "bias", weights, lambda: proj.weight @ of_values + proj.bias)
    add_product(place, mixed, proj.weight, offset)


def _attend_in_windows(q: Tensor, k: Tensor, v: Tensor, group: Group, size: int) -> Tensor:
    """(tokens, heads, D) of a group to (tokens, heads * D)."""
    q, k, v = (x.unflatten(0, (group.windows, -1)).transpose(1, 2) for x in (q, k, v))
    padding = size * size - group.rows * group.columns
    mask = None
    if padding:
        # sam2 pads with zeros after the norm: the keys and values of padded tokens are zero
        # without their bias. One such key, its score raised by log(padding), weighs as much
        # as all of them
        k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
        mask = k.new_zeros(1, 1, 1, k.shape[2])
        mask[..., -1] = math.log(padding)
        mask = mask.expand(-1, -1, q.shape[2], -1)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _pool(tokens: Tensor, group: Group) -> Tensor:
    """Largest of each 2x2 tokens of a group's windows."""
    split = tokens.unflatten(0, (group.windows, group.rows // 2, 2, group.columns // 2, 2))
    upper, lower = split.unbind(2)
    left, right = torch.maximum(upper, lower).unbind(3)
    return torch.maximum(left, right).flatten(0, 2)
