"""The mask decoder's transformer: a few tokens and many pixels attend to each other.

A head's score is (x W_k) q = x (W_k q), and what it gives is (A x) W_v. With the tokens' side of
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
from surgsam2.model.cpu.weight_cache import remembered


class Places(NamedTuple):
    """Where the pixels are."""

    encoding: PositionEmbeddingRandom
    size: tuple[int, int]
    """(h, w) of the map."""

    def through(self, projection: nn.Linear) -> Tensor:
        """(h * w, N) encodings of the positions, projected without the bias."""
        weight = projection.weight
        return remembered(
            projection,
            f"places {self.size}",
            (weight, self.encoding.positional_encoding_gaussian_matrix),
            lambda: self.encoding(self.size).flatten(1).t() @ weight.t(),
        )


def supports(decoder: MaskDecoder) -> bool:
    """Whether `transform` can stand in for a decoder's transformer: built as in SAM 2."""
    return isinstance(decoder.transformer, TwoWayTransformer)


def transform(
    module: TwoWayTransformer, pixels: Tensor, places: Places, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """What the module gives for one object.

    Args:
        pixels: (P, C), those of a map row by row.
        tokens: (T, C).

    Returns:
        (T, C) tokens and (P, C) pixels.
    """
    queries = tokens
    for layer in module.layers:
        queries = layer.norm1(_among_tokens(layer, queries, tokens))
        attn = layer.cross_attn_token_to_image
        queries = layer.norm2(queries + _to_pixels(attn, queries + tokens, pixels, places))
        queries = layer.norm3(queries + layer.mlp(queries))
        attn = layer.cross_attn_image_to_token
        pixels = layer.norm4(_plus_tokens(attn, pixels, places, queries + tokens, queries))
    attn = module.final_attn_token_to_image
    attended = _to_pixels(attn, queries + tokens, pixels, places)
    return module.norm_final_attn(queries + attended), pixels


def _among_tokens(layer: TwoWayAttentionBlock, queries: Tensor, tokens: Tensor) -> Tensor:
    attn = layer.self_attn
    if layer.skip_first_layer_pe:
        return attn(queries[None], queries[None], queries[None])[0]
    placed = queries + tokens
    return queries + attn(placed[None], placed[None], queries[None])[0]


def _to_pixels(attn: Attention, queries: Tensor, pixels: Tensor, places: Places) -> Tensor:
    """What (T, C) queries find among the pixels: (T, C)."""
    # a bias of the keys would raise all scores of a query alike
    query = _heads(attn, attn.q_proj(queries)) * _scale(attn)
    scores = _scores(attn, query, attn.k_proj, pixels, places)
    mixed = linear(torch.softmax(scores, dim=-1).flatten(0, 1), pixels.t())
    values = mixed.unflatten(0, query.shape[:2]) @ _of_heads(attn, attn.v_proj.weight).mT
    return attn.out_proj(values.transpose(0, 1).flatten(1) + attn.v_proj.bias)


def _plus_tokens(
    attn: Attention, pixels: Tensor, places: Places, keys: Tensor, values: Tensor
) -> Tensor:
    """Pixels and what they find among (T, C) keys and values: (P, C)."""
    key = _heads(attn, attn.k_proj(keys)) * _scale(attn)
    value = _heads(attn, attn.v_proj(values))
    scores = _scores(attn, key, attn.q_proj, pixels, places)
    scores += key @ _of_heads(attn, attn.q_proj.bias)[..., None]
    shares = torch.softmax(scores, dim=1).flatten(0, 1)  # (heads * T, P)
    # a pixel's shares add up to 1 in every head
    out = value @ _of_heads(attn, attn.out_proj.weight.t()) + attn.out_proj.bias / attn.num_heads
    return linear(shares.t(), out.flatten(0, 1).t()).add_(pixels)


def _scores(
    attn: Attention, tokens: Tensor, projection: nn.Linear, pixels: Tensor, places: Places
) -> Tensor:
    """(heads, T, P) products of (heads, T, D) tokens and the projection without its bias."""
    of_places = tokens @ _heads(attn, places.through(projection)).mT
    through = (tokens @ _of_heads(attn, projection.weight)).flatten(0, 1)
    return of_places.add_(linear(through, pixels).view_as(of_places))


def _scale(attn: Attention) -> float:
    return float((attn.internal_dim // attn.num_heads) ** -0.5)


def _heads(attn: Attention, x: Tensor) -> Tensor:
    """(T, heads * D) to (heads, T, D)."""
    return x.unflatten(1, (attn.num_heads, -1)).transpose(0, 1)


def _of_heads(attn: Attention, weight: Tensor) -> Tensor:
    """(heads * D, ...) to (heads, D, ...)."""
    return weight.unflatten(0, (attn.num_heads, -1))
