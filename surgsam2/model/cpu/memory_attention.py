"""Memory attention for all objects of a frame, with less arithmetic.

- Before the first cross-attention nothing depends on the object; that is computed once.
- With one head softmax(S) (M W_v) = (softmax(S) M) W_v, and the projections of values and
  output are one matrix. In cross-attention it is applied last, so that the scores are
  multiplied with the memories' own 64 channels instead of 256.
"""

from __future__ import annotations

import torch
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor

from surgsam2.model.cpu.attention import attention
from surgsam2.model.cpu.matmul import (
    add_linear,
    apply_layer,
    compose_layers,
    layer_weights,
    linear,
)
from surgsam2.model.cpu.parallel import map_objects
from surgsam2.model.frame_data import EncodedMemories


def supports(module: MemoryAttention) -> bool:
    """Return whether `attend` can replace a module: it is built as in SAM 2."""
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


def attend(
    module: MemoryAttention,
    tokens: Tensor,
    position: Tensor,
    memories: EncodedMemories,
    dtype: torch.dtype,
) -> Tensor:
    """Condition a frame's features on the memories of B objects.

    Args:
        module: sam2's module.
        tokens: (P, C) float32 features of the frame.
        position: (P, C) position encoding of the features.
        memories: memories of the objects.
        dtype: float32 or bfloat16, the precision of products. Tokens stay float32 from layer to
            layer.

    Returns:
        (B, P, C) float32.
    """
    if module.pos_enc_at_input:
        tokens = tokens + 0.1 * position
    memory_position = memories.position.t().to(dtype).contiguous()
    pointer_tokens = memories.pointers.shape[1]
    first, *others = module.layers
    tokens = _self_attention(first, tokens, dtype)
    query = _query(first, tokens, dtype)

    def condition(index: int) -> Tensor:
        memory, key = _memory_tokens(memories, index, memory_position)
        x = tokens + _cross_attention(first, query, key, memory, pointer_tokens)
        x = _feed_forward(first, x, dtype)
        for layer in others:
            x = _self_attention(layer, x, dtype)
            query_of_object = _query(layer, x, dtype)
            x += _cross_attention(layer, query_of_object, key, memory, pointer_tokens)
            x = _feed_forward(layer, x, dtype)
        return module.norm(x)

    return torch.stack(map_objects(condition, list(range(len(memories.maps)))))


def _memory_tokens(
    memories: EncodedMemories, index: int, position: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the tokens of one object, (K * P + Q, Cm), and with their encodings added.

    Args:
        memories: memories of B objects.
        index: of the object.
        position: (P, Cm) encoding of the positions within a map.
    """
    positions, channels = position.shape
    kept = memories.kept[index].tolist()
    spatial = len(kept) * positions
    # a contiguous matrix for every object: products with distant rows are slow
    tokens = position.new_empty(spatial + memories.pointers.shape[1], channels)
    as_maps = (len(kept), positions, channels)
    # transposing one matrix is fast, transposing a batch of them is not
    for target, which in zip(tokens[:spatial].view(as_maps), kept, strict=True):
        target.copy_(memories.maps[index, which].to(target.dtype).t())
    tokens[spatial:] = memories.pointers[index]
    keys = tokens.clone()
    keys[:spatial].view(as_maps).add_(position).add_(memories.time[index, :, None])
    keys[spatial:] += memories.pointer_time[index]
    return tokens, keys


def _self_attention(layer: MemoryAttentionLayer, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (P, C) features with the output of their self-attention added."""
    attn, normed = layer.self_attn, layer.norm1(x).to(dtype)
    query, key = (_rotate(attn, apply_layer(p, normed)) for p in (attn.q_proj, attn.k_proj))
    return x + attention(query, key, linear(normed, *_value_output(attn, dtype)))


def _query(layer: MemoryAttentionLayer, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the queries of (P, C) features in cross-attention, (P, C)."""
    attn = layer.cross_attn_image
    return _rotate(attn, apply_layer(attn.q_proj, layer.norm2(x).to(dtype)))


def _cross_attention(
    layer: MemoryAttentionLayer, query: Tensor, key: Tensor, memory: Tensor, pointer_tokens: int
) -> Tensor:
    """Return the output of cross-attention, (P, C).

    Args:
        layer: sam2's module.
        query: (P, C), from `_query`.
        key: (N, Cm) memory tokens with their encodings added.
        memory: (N, Cm) memory tokens.
        pointer_tokens: number of tokens at the end that are object pointers.
    """
    attn = layer.cross_attn_image
    projected = apply_layer(attn.k_proj, key)
    spatial = len(projected) - pointer_tokens
    _rotate(attn, projected[:spatial].view(-1, *query.shape))
    return linear(attention(query, projected, memory), *_value_output(attn, query.dtype))


def _value_output(attn: RoPEAttention, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the projections of values and output as one layer.

    The weights of a query's values add up to 1, so the bias may be added before or after them.
    """
    return compose_layers(attn, attn.v_proj, attn.out_proj, dtype)


def _feed_forward(layer: MemoryAttentionLayer, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Add the output of the two feed-forward layers to (P, C) in place."""
    hidden = apply_layer(layer.linear1, layer.norm3(x).to(dtype), "relu")
    return add_linear(x, hidden, *layer_weights(layer.linear2, hidden.dtype))


def _rotate(attn: RoPEAttention, x: Tensor) -> Tensor:
    """Apply the rotary position encoding to (..., P, C) maps of P positions in place."""
    positions = x.shape[-2]
    if len(attn.freqs_cis) != positions:  # as sam2 does it, for another image size
        side = positions**0.5
        attn.freqs_cis = attn.compute_cis(end_x=side, end_y=side)
    # the table is not a buffer, so it stays on a GPU when the network moves away
    attn.freqs_cis = attn.freqs_cis.to(x.device)
    rotated = x.float()  # the same tensor, if it is float32
    torch.view_as_complex(rotated.unflatten(-1, (-1, 2))).mul_(attn.freqs_cis)
    return x if rotated is x else x.copy_(rotated)
