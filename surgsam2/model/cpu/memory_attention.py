"""Memory attention for many objects of one frame, with less arithmetic.

- Before the first cross-attention nothing depends on the object: it is computed once.
- With one head softmax(S) (M W_v) = (softmax(S) M) W_v, and the two projections of what was
  found are one matrix. In cross-attention it comes last, so that the product is taken on the
  memories' own 64 channels, not on 256.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor

from surgsam2.model.cpu.attention import attention
from surgsam2.model.cpu.matmul import add_two_layers, as_one, linear, through
from surgsam2.model.cpu.parallel_objects import each


def supports(module: MemoryAttention) -> bool:
    """Whether `attend` can stand in for a module: built as in SAM 2."""
    return (
        module.batch_first
        and all(
            isinstance(attn, RoPEAttention) and attn.num_heads == 1
            for layer in module.layers
            for attn in (layer.self_attn, layer.cross_attn_image)
        )
        and all(
            (layer.pos_enc_at_attn, layer.pos_enc_at_cross_attn_queries) == (False, False)
            and layer.pos_enc_at_cross_attn_keys
            and layer.activation_str == "relu"
            for layer in module.layers
        )
    )


@dataclass(frozen=True)
class Memories:
    """What B objects of a frame remember: the K maps of M that count, and Q pointer tokens."""

    maps: Tensor
    """(B, M, Cm, P), any float dtype."""
    kept: Tensor
    """(B, K) int64 indices of the maps that count."""
    time: Tensor
    """(B, K, Cm) their time encodings."""
    position: Tensor
    """(P, Cm) encoding of the positions."""
    pointers: Tensor
    """(B, Q, Cm)."""
    pointer_positions: Tensor
    """(B, Q, Cm)."""

    def of(self, index: int) -> tuple[Tensor, Tensor]:
        """(K * P + Q, Cm) tokens of an object, and what their keys are made from."""
        places, channels = self.position.shape
        chosen = self.kept[index].tolist()
        spatial = len(chosen) * places
        # a matrix of its own for every object: products with rows that lie apart are slow
        tokens = self.position.new_empty(spatial + self.pointers.shape[1], channels)
        as_maps = (len(chosen), places, channels)
        # a matrix is transposed fast, a batch of them is not
        for place, which in zip(tokens[:spatial].view(as_maps), chosen, strict=True):
            place.copy_(self.maps[index, which].to(place.dtype).t())
        tokens[spatial:] = self.pointers[index]
        keys = tokens.clone()
        keys[:spatial].view(as_maps).add_(self.position).add_(self.time[index, :, None])
        keys[spatial:] += self.pointer_positions[index]
        return tokens, keys


def attend(module: MemoryAttention, tokens: Tensor, position: Tensor, memories: Memories) -> Tensor:
    """What the module gives for B objects of one frame.

    Args:
        tokens, position: (P, C) features of the frame and their position encoding.

    Returns:
        (B, P, C).
    """
    if module.pos_enc_at_input:
        tokens = tokens + 0.1 * position
    pointer_tokens = memories.pointers.shape[1]
    first, *others = module.layers
    tokens = _self_attention(first, tokens)
    query = _query(first, tokens)

    def conditioned(index: int) -> Tensor:
        memory, key = memories.of(index)
        x = _cross_attention(first, query, key, memory, pointer_tokens).add_(tokens)
        x = _feed_forward(first, x)
        for layer in others:
            x = _self_attention(layer, x)
            x = _cross_attention(layer, _query(layer, x), key, memory, pointer_tokens).add_(x)
            x = _feed_forward(layer, x)
        return module.norm(x)

    return torch.stack(each(conditioned, list(range(len(memories.maps)))))


def _self_attention(layer: MemoryAttentionLayer, x: Tensor) -> Tensor:
    attn, normed = layer.self_attn, layer.norm1(x)
    query, key = (_rotate(attn, through(p, normed)) for p in (attn.q_proj, attn.k_proj))
    return attention(query, key, linear(normed, *_values_out(attn))).add_(x)


def _query(layer: MemoryAttentionLayer, x: Tensor) -> Tensor:
    attn = layer.cross_attn_image
    return _rotate(attn, through(attn.q_proj, layer.norm2(x)))


def _cross_attention(
    layer: MemoryAttentionLayer, query: Tensor, key: Tensor, memory: Tensor, pointer_tokens: int
) -> Tensor:
    attn = layer.cross_attn_image
    projected = through(attn.k_proj, key)
    spatial = len(projected) - pointer_tokens
    _rotate(attn, projected[:spatial].view(-1, *query.shape))
    return linear(attention(query, projected, memory), *_values_out(attn))


def _values_out(attn: RoPEAttention) -> tuple[Tensor, Tensor]:
    """Weight and bias of the values' projection and the output's as one.

    A query's shares of the values add up to 1, so the bias may be added to these or to their sum.
    """
    v, out = attn.v_proj, attn.out_proj
    return as_one(attn, (v.weight, v.bias), (out.weight, out.bias))


def _feed_forward(layer: MemoryAttentionLayer, x: Tensor) -> Tensor:
    """In place."""
    return add_two_layers(x, layer.norm3(x), layer.linear1, layer.linear2)


def _rotate(attn: RoPEAttention, x: Tensor) -> Tensor:
    """Rotary position encoding of (..., P, C) maps of P positions, in place."""
    positions = x.shape[-2]
    if len(attn.freqs_cis) != positions:  # as sam2 does it, for another image size
        side = positions**0.5
        attn.freqs_cis = attn.compute_cis(end_x=side, end_y=side)
    attn.freqs_cis = attn.freqs_cis.to(x.device)  # no buffer: it stays on a GPU that was left
    torch.view_as_complex(x.unflatten(-1, (-1, 2))).mul_(attn.freqs_cis)
    return x
