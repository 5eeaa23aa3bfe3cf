"""Attention of Hiera's blocks, within windows that may be smaller at the edges.

A query's score with the key of a token x is q (W_k x) = (W_k^T q) x, and a query's output is W_v
times its weighted sum of the tokens. So the tokens themselves can serve as keys and values, if
W_k and W_v are applied to the queries' side. That takes fewer operations where a block pools its
queries, so that they are a quarter of the tokens, and where it has one head.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import MultiScaleAttention
from torch import Tensor

from surgsam2.model.cpu.attention import attention
from surgsam2.model.cpu.matmul import add_linear, layer_weights, linear
from surgsam2.model.cpu.weight_cache import cached
from surgsam2.model.cpu.windows import Group, Windows


class AttentionWeights(NamedTuple):
    """Weights of one block's attention, for all of its strips."""

    heads: int
    """Number of heads."""
    pools: bool
    """Whether a query is the largest of 2x2 tokens' queries."""
    projection: Tensor
    """(3 C', C) of queries, keys and values; (C', C) of queries where tokens serve as keys."""
    query_bias: Tensor
    """(C',). A bias of the keys has no effect: it would raise all scores of a query alike."""
    key_projection: Tensor | None
    """(heads, C, D), applied to pooled queries where tokens serve as keys."""
    output: tuple[Tensor, Tensor]
    """Weight and bias of the output: (C', heads * D), or (C', heads * C) where tokens serve as
    values, and (C',). It includes the bias of the values, as a query's weights add up to 1."""

    @classmethod
    def of(cls, attn: MultiScaleAttention, dtype: torch.dtype) -> AttentionWeights:
        """Return the weights of a module in a precision; they are computed once."""
        qkv, proj = attn.qkv, attn.proj
        weights = (qkv.weight, qkv.bias, proj.weight, proj.bias)
        return cached(attn, str(dtype), weights, lambda: cls._computed(attn, dtype))

    @classmethod
    def _computed(cls, attn: MultiScaleAttention, dtype: torch.dtype) -> AttentionWeights:
        """Compute the weights in float32, and round them to a precision at the end."""
        (qkv, qkv_bias), (proj, proj_bias) = (
            layer_weights(layer, torch.float32) for layer in (attn.qkv, attn.proj)
        )
        heads, pools = attn.num_heads, bool(attn.q_pool)
        of_query, of_key, of_value = qkv.unflatten(0, (3, -1))
        query_bias, _, value_bias = qkv_bias.view(3, -1)
        projection, to_keys, output = qkv, None, proj
        if _tokens_serve_as_keys(attn):
            # attention divides scores by the root of C, not of D
            scale = (heads * of_key.shape[1] / of_key.shape[0]) ** 0.5
            of_key, of_value, of_output = (
                x.unflatten(0, (heads, -1)) for x in (of_key, of_value, proj.t())
            )
            projection, to_keys = of_query, scale * of_key.mT
            output = (of_output.mT @ of_value).transpose(0, 1).flatten(1)
            if not pools:  # there is one head, so the two projections of a query are one
                projection, query_bias = to_keys[0] @ of_query, to_keys[0] @ query_bias
                to_keys = None
        return cls(
            heads,
            pools,
            projection.to(dtype),
            query_bias.to(dtype),
            None if to_keys is None else to_keys.to(dtype),
            (output.to(dtype), (proj @ value_bias + proj_bias).to(dtype)),
        )


def _tokens_serve_as_keys(attn: MultiScaleAttention) -> bool:
    """Return whether tokens as keys and values take fewer multiplications.

    Keys never take more. Values take N C C' with projections of the N tokens and N / 4 C' C' of
    the outputs of N / 4 queries; with tokens as values, outputs of H heads take N / 4 H C C'.
    """
    outputs, channels = attn.qkv.out_features // 3, attn.qkv.in_features
    tokens_per_query = 4 if attn.q_pool else 1
    return bool(attn.num_heads * channels < tokens_per_query * channels + outputs)


def add_attention(
    target: Tensor, weights: AttentionWeights, tokens: Tensor, windows: Windows, *, everywhere: bool
) -> None:
    """Add the attention's output for (N, C) tokens to `target`.

    Args:
        target: (N, C'), or (N / 4, C') where queries are pooled.
        weights: of the block's attention.
        tokens: in the order of `windows`.
        windows: division of the tokens.
        everywhere: attend among all tokens instead of within windows.
    """
    query, key, value = _query_key_value(weights, tokens, windows)
    if everywhere:
        heads = zip(query.unbind(1), key.unbind(1), value.unbind(1), strict=True)
        mixed = torch.cat([attention(q, k, v) for q, k, v in heads], dim=-1)
    else:
        mixed = _attend_in_windows(windows, query, key, value)
    add_linear(target, mixed.view(len(target), -1), *weights.output)


def max_pool(tokens: Tensor, windows: Windows) -> Tensor:
    """Return the largest of each 2x2 of (N, C) tokens, which are overwritten: (N / 4, C)."""
    return torch.cat([_pool_group(tokens[group.tokens], group) for group in windows.groups()])


def _query_key_value(
    weights: AttentionWeights, tokens: Tensor, windows: Windows
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values, (N, heads, D) each.

    Where tokens serve as keys and values, these are (N, 1, C), and the queries of a token's
    heads follow each other: (N * heads, 1, C).
    """
    projected = linear(tokens, weights.projection)
    query, *others = projected.split(len(weights.query_bias), dim=1)
    query += weights.query_bias
    if weights.pools:
        query = max_pool(query, windows)
    by_head = query.unflatten(1, (weights.heads, -1))
    if others:
        key, value = (x.unflatten(1, (weights.heads, -1)) for x in others)
        return by_head, key, value
    if weights.key_projection is not None:
        pairs = zip(by_head.unbind(1), weights.key_projection, strict=True)
        by_head = torch.stack([linear(x, weight) for x, weight in pairs], dim=1)
    return by_head.flatten(0, 1)[:, None], tokens[:, None], tokens[:, None]


def _attend_in_windows(windows: Windows, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend within each window.

    Args:
        windows: division of the keys.
        query: (M, heads, D), M / N queries for each key.
        key: (N, heads, D).
        value: (N, heads, D).

    Returns:
        (M, heads * D).
    """
    parts = []
    for group in windows.groups():
        ends = (group.tokens.start, group.tokens.stop)
        queries = slice(*(len(query) * end // len(key) for end in ends))
        parts.append(
            _attend_in_group(
                group, windows.size, query[queries], key[group.tokens], value[group.tokens]
            )
        )
    return torch.cat(parts)


def _attend_in_group(group: Group, size: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend within each window of a group: (M, heads * D), arguments as `_attend_in_windows`."""
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
    if q.dtype == torch.bfloat16:  # PyTorch's kernel takes more than twice as long
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.mT)
        mixed = torch.softmax(scores if mask is None else scores + mask, dim=-1) @ v
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)


def _pool_group(tokens: Tensor, group: Group) -> Tensor:
    """Return the largest of each 2x2 of a group's (N, C) tokens: (N / 4, C)."""
    split = tokens.unflatten(0, (group.windows, group.rows // 2, 2, group.columns // 2, 2))
    upper, lower = split.unbind(2)
    left, right = torch.maximum(upper, lower, out=upper).unbind(3)
    return torch.maximum(left, right).flatten(0, 2)
