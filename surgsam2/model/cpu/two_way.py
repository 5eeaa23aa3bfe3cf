"""The mask decoder's transformer, in which a few tokens and many pixels attend to each other.

A head's score is (x W_k) q = x (W_k q), and its output is (A x) W_v. With the tokens' side of
these products taken first, no key, query or value is made for a pixel, and every product
with the pixels has as many columns as there are tokens times heads: 64 instead of 128 three
times.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from sam2.modeling.position_encoding import PositionEmbeddingRandom
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.transformer import Attention, TwoWayAttentionBlock, TwoWayTransformer
from torch import Tensor, nn

from surgsam2.model.cpu.matmul import linear
from surgsam2.model.cpu.weight_cache import cached


class PositionEncoding(NamedTuple):
    """The position encoding of a map's pixels."""

    module: PositionEmbeddingRandom
    """sam2's module, which computes it."""
    size: tuple[int, int]
    """(h, w) of the map."""

    def projected(self, projection: nn.Linear) -> Tensor:
        """Return the encodings times the weight of a layer, without its bias: (h * w, N)."""
        weight = projection.weight
        return cached(
            projection,
            f"position {self.size}",
            (weight, self.module.positional_encoding_gaussian_matrix),
            lambda: self.module(self.size).flatten(1).t() @ weight.t(),
        )


def supports(decoder: MaskDecoder) -> bool:
    """Return whether `transform` can replace a decoder's transformer: it is built as in SAM 2."""
    return isinstance(decoder.transformer, TwoWayTransformer)


def transform(
    module: TwoWayTransformer, pixels: Tensor, position: PositionEncoding, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the transformer for one object.

    Args:
        module: sam2's module.
        pixels: (P, C) features of a map in row-major order.
        position: encoding of the pixels.
        tokens: (T, C) output and prompt tokens.

    Returns:
        (T, C) tokens and (P, C) pixels.
    """
    queries = tokens
    for layer in module.layers:
        queries = layer.norm1(_self_attention(layer, queries, tokens))
        attn = layer.cross_attn_token_to_image
        queries = layer.norm2(queries + _attend_to_pixels(attn, queries + tokens, pixels, position))
        queries = layer.norm3(queries + layer.mlp(queries))
        attn = layer.cross_attn_image_to_token
        pixels = layer.norm4(_attend_to_tokens(attn, pixels, position, queries + tokens, queries))
    attn = module.final_attn_token_to_image
    attended = _attend_to_pixels(attn, queries + tokens, pixels, position)
    return module.norm_final_attn(queries + attended), pixels


def _self_attention(layer: TwoWayAttentionBlock, queries: Tensor, tokens: Tensor) -> Tensor:
    """Return (T, C) queries after self-attention; the first tokens are their position encoding."""
    attn = layer.self_attn
    if layer.skip_first_layer_pe:
        return attn(queries[None], queries[None], queries[None])[0]
    encoded = queries + tokens
    return queries + attn(encoded[None], encoded[None], queries[None])[0]


def _attend_to_pixels(
    attn: Attention, queries: Tensor, pixels: Tensor, position: PositionEncoding
) -> Tensor:
    """Let (T, C) queries attend to the pixels: (T, C)."""
    # the bias of the keys is left out: it would raise all scores of a query alike
    query = _split_heads(attn, attn.q_proj(queries)) * _scale(attn)
    scores = _scores(attn, query, attn.k_proj, pixels, position)
    mixed = linear(torch.softmax(scores, dim=-1).flatten(0, 1), pixels.t())
    values = mixed.unflatten(0, query.shape[:2]) @ _split_rows(attn, attn.v_proj.weight).mT
    return attn.out_proj(values.transpose(0, 1).flatten(1) + attn.v_proj.bias)


def _attend_to_tokens(
    attn: Attention, pixels: Tensor, position: PositionEncoding, keys: Tensor, values: Tensor
) -> Tensor:
    """Let the pixels attend to (T, C) keys and values, and add the result to them: (P, C)."""
    key = _split_heads(attn, attn.k_proj(keys)) * _scale(attn)
    value = _split_heads(attn, attn.v_proj(values))
    scores = _scores(attn, key, attn.q_proj, pixels, position)
    scores += key @ _split_rows(attn, attn.q_proj.bias)[..., None]
    weights = torch.softmax(scores, dim=1).flatten(0, 1)  # (heads * T, P)
    # a pixel's weights add up to 1 in every head, so each head may add a share of the bias
    bias = attn.out_proj.bias / attn.num_heads
    output = value @ _split_rows(attn, attn.out_proj.weight.t()) + bias
    return linear(weights.t(), output.flatten(0, 1).t()).add_(pixels)


def _scores(
    attn: Attention,
    tokens: Tensor,
    projection: nn.Linear,
    pixels: Tensor,
    position: PositionEncoding,
) -> Tensor:
    """Return the scores of (heads, T, D) tokens with the projected pixels: (heads, T, P).

    The projection's bias is left out.
    """
    scores = tokens @ _split_heads(attn, position.projected(projection)).mT
    projected = (tokens @ _split_rows(attn, projection.weight)).flatten(0, 1)
    return scores.add_(linear(projected, pixels).view_as(scores))


def _scale(attn: Attention) -> float:
    """Return the factor on the scores of a head, one over the root of its channels."""
    return float((attn.internal_dim // attn.num_heads) ** -0.5)


def _split_heads(attn: Attention, x: Tensor) -> Tensor:
    """Split (T, heads * D) into (heads, T, D)."""
    return x.unflatten(1, (attn.num_heads, -1)).transpose(0, 1)


def _split_rows(attn: Attention, weight: Tensor) -> Tensor:
    """Split (heads * D, ...) into (heads, D, ...)."""
    return weight.unflatten(0, (attn.num_heads, -1))
