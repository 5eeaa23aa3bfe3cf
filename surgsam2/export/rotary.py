"""Rotary position encoding without complex numbers, which ONNX does not support."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from sam2.modeling.memory_attention import MemoryAttention
from sam2.modeling.sam.transformer import RoPEAttention


class RealRotaryAttention(RoPEAttention):
    """`RoPEAttention` with tables of cosines and sines, equal to it up to rounding.

    sam2 multiplies complex numbers: it takes a pair (a, b) of neighbouring channels as
    a + ib and rotates it by an angle that depends on the position. The same rotation in real
    numbers is (a cos - b sin, a sin + b cos).

    Args:
        original: Attention whose weights and settings are used.
        side: Width and height of the square feature map.
    """

    def __init__(self, original: RoPEAttention, side: int) -> None:
        super().__init__(
            embedding_dim=original.embedding_dim,
            num_heads=original.num_heads,
            downsample_rate=original.embedding_dim // original.internal_dim,
            kv_in_dim=original.kv_in_dim,
            feat_sizes=(side, side),
        )
        self.load_state_dict(original.state_dict())
        angles = original.compute_cis(end_x=side, end_y=side)
        self.register_buffer("cos", angles.real.contiguous(), persistent=False)
        self.register_buffer("sin", angles.imag.contiguous(), persistent=False)

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num_k_exclude_rope: int = 0
    ) -> torch.Tensor:
        """Attend to keys that are whole feature maps followed by tokens without position.

        Args:
            q: (B, P, C) queries, P being the number of positions of the map.
            k: (B, M * P + `num_k_exclude_rope`, C) keys.
            v: Values, one per key.
            num_k_exclude_rope: Number of keys at the end that are not rotated.
        """
        q = self._separate_heads(self.q_proj(q), self.num_heads)
        k = self._separate_heads(self.k_proj(k), self.num_heads)
        v = self._separate_heads(self.v_proj(v), self.num_heads)
        rotated = k.shape[2] - num_k_exclude_rope
        maps = k[:, :, :rotated].unflatten(2, (-1, q.shape[2]))
        keys = torch.cat([self._rotate(maps).flatten(2, 3), k[:, :, rotated:]], dim=2)
        out = F.scaled_dot_product_attention(self._rotate(q), keys, v)
        return self.out_proj(self._recombine_heads(out))

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate (..., P, D) by the angles of its P positions."""
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack(
            [a * self.cos - b * self.sin, a * self.sin + b * self.cos], dim=-1
        ).flatten(-2)


def without_complex_numbers(attention: MemoryAttention, side: int) -> MemoryAttention:
    """Copy memory attention with rotary encodings in real numbers.

    Args:
        attention: Not changed.
        side: Width and height of the square feature map.
    """
    real = copy.deepcopy(attention)
    for layer in real.layers:
        for name in ("self_attn", "cross_attn_image"):
            if isinstance(getattr(layer, name), RoPEAttention):
                setattr(layer, name, RealRotaryAttention(getattr(layer, name), side))
    return real.eval()
