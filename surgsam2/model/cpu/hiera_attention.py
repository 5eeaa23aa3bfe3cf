"""Attention of Hiera's blocks, within windows that may be smaller at the edges.

A query's score with the key of a token is q (W_k x) = (W_k^T q) x, and what it finds of the values
is W_v of what it finds of the tokens. Where a block pools its queries, so that they are a quarter
of the tokens, or has one head, the right sides take less: tokens stand in for keys and values.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import MultiScaleAttention
from torch import Tensor

from surgsam2.model.cpu.attention import attention
from surgsam2.model.cpu.matmul import add_product, as_one, linear
from surgsam2.model.cpu.weight_cache import remembered
from surgsam2.model.cpu.windows import Group, Windows


class Weights(NamedTuple):
    """Those of a block's attention, made once for all of its strips."""

    heads: int
    pools: bool
    """Whether queries are the largest of 2x2 tokens'."""
    joint: Tensor
    """(3 C', C) of queries, keys and values, or (C', C) of queries alone: tokens stand in."""
    query_bias: Tensor
    """(C',). Keys need none: it would raise all scores of a query alike."""
    turn: Tensor | None
    """(heads, C, D) from pooled queries to what tokens are asked, where these stand in."""
    output: tuple[Tensor, Tensor]
    """(C', heads * D), heads * C where tokens stand in, and (C',). The values' bias is part of
    the output's: a query's weights add up to 1."""

    @classmethod
    def of(cls, attn: MultiScaleAttention) -> Weights:
        """Those of a module; what is made of several weights is remembered."""
        qkv, proj, heads, pools = attn.qkv, attn.proj, attn.num_heads, bool(attn.q_pool)
        of_query, of_key, of_value = qkv.weight.unflatten(0, (3, -1))
        query_bias, _, value_bias = qkv.bias.view(3, -1)
        offset = remembered(
            attn,
            "offset",
            (proj.weight, proj.bias, qkv.bias),
            lambda: proj.weight @ value_bias + proj.bias,
        )
        if not _tokens_stand_in(attn):
            return cls(heads, pools, qkv.weight, query_bias, None, (proj.weight, offset))

        def by_head(x: Tensor) -> Tensor:
            return x.unflatten(0, (heads, -1))

        # attention divides scores by the root of C, not of D
        scale = (heads * of_key.shape[1] / of_key.shape[0]) ** 0.5
        turn = remembered(attn, "turn", (qkv.weight,), lambda: scale * by_head(of_key).mT)
        output = remembered(
            attn,
            "output",
            (qkv.weight, proj.weight),
            lambda: (by_head(proj.weight.t()).mT @ by_head(of_value)).transpose(0, 1).flatten(1),
        )
        if pools:
            return cls(heads, pools, of_query, query_bias, turn, (output, offset))
        turn_alone = (turn[0], turn.new_zeros(turn.shape[1]))
        query, query_bias = as_one(attn, (of_query, query_bias), turn_alone)
        return cls(heads, pools, query, query_bias, None, (output, offset))


def _tokens_stand_in(attn: MultiScaleAttention) -> bool:
    """Whether there is less to multiply then.

    Keys never take more. In place of N tokens by C C' and of N / 4 queries by C' C' weights,
    N / 4 queries that find C channels in each of H heads are multiplied by H C C'.
    """
    outputs, channels = attn.qkv.out_features // 3, attn.qkv.in_features
    tokens = 4 if attn.q_pool else 1  # for each query
    return bool(attn.num_heads * channels < tokens * channels + outputs)


def attend(
    place: Tensor, weights: Weights, tokens: Tensor, windows: Windows, *, everywhere: bool
) -> None:
    """Adds what (N, C) tokens find to `place`: (N, C'), or (N / 4, C') if queries are pooled.

    Args:
        windows: the order of the tokens.
        everywhere: among all tokens, not within windows.
    """
    parts = _asked(weights, tokens, windows)
    if everywhere:
        heads = [attention(*(x[:, h] for x in parts)) for h in range(parts[0].shape[1])]
        mixed = torch.cat(heads, dim=-1)
    else:
        mixed = _within(windows, *parts)
    add_product(place, mixed.view(len(place), -1), *weights.output)


def _asked(weights: Weights, tokens: Tensor, windows: Windows) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, (., heads, D); of tokens that stand in (., 1, C).

    What the heads ask of the same tokens are queries one after another.
    """
    joint = linear(tokens, weights.joint)
    query, *others = joint.split(len(weights.query_bias), dim=1)
    query += weights.query_bias
    if weights.pools:
        query = pooled(query, windows)
    of_heads = query.unflatten(1, (weights.heads, -1))
    if others:
        key, value = (x.unflatten(1, (weights.heads, -1)) for x in others)
        return of_heads, key, value
    if weights.turn is not None:
        pairs = zip(of_heads.unbind(1), weights.turn, strict=True)
        of_heads = torch.stack([linear(x, turn) for x, turn in pairs], dim=1)
    return of_heads.flatten(0, 1)[:, None], tokens[:, None], tokens[:, None]


def pooled(tokens: Tensor, windows: Windows) -> Tensor:
    """Largest of each 2x2 of (N, C) tokens, which are overwritten: (N / 4, C)."""
    return joined([_pool(tokens[group.tokens], group) for group in windows.groups()])


def joined(parts: list[Tensor]) -> Tensor:
    """One after another."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _within(windows: Windows, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(M, heads, D) queries and (N, heads, D) keys and values to (M, heads * D)."""
    parts = []
    for group in windows.groups():
        ends = (group.tokens.start, group.tokens.stop)
        asking = slice(*(len(query) * end // len(key) for end in ends))
        parts.append(
            _within_group(
                group, windows.size, query[asking], key[group.tokens], value[group.tokens]
            )
        )
    return joined(parts)


def _within_group(group: Group, size: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
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


def _pool(tokens: Tensor, group: Group) -> Tensor:
    split = tokens.unflatten(0, (group.windows, group.rows // 2, 2, group.columns // 2, 2))
    upper, lower = split.unbind(2)
    left, right = torch.maximum(upper, lower, out=upper).unbind(3)
    return torch.maximum(left, right).flatten(0, 2)
