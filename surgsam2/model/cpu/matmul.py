"""Matrix products by the faster of PyTorch's two libraries, oneDNN and MKL.

On the CPU PyTorch gives float32 products to MKL, which uses half the vector width of
processors that are not Intel's: on an AMD EPYC with AVX-512 `torch.mm` computes 91 GFLOP/s per
core, oneDNN 205. oneDNN comes with PyTorch; `mkldnn::_linear_pointwise` is the operator
through which PyTorch's own compiler calls it. On AVX2, and on Intel processors with AVX-512,
MKL is faster by up to a tenth on the shapes of Hiera-S and its memory attention.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgsam2.model.cpu.processor import is_intel
from surgsam2.model.cpu.weight_cache import cached

_IN_PLACE = {"relu": torch.ops.aten.relu_, "gelu": torch.ops.aten.gelu_}


def is_available() -> bool:
    """Return whether the processor has AVX2 or AVX-512, on which the choice was measured."""
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and (
        torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    )


@cache
def prefers_onednn() -> bool:
    """Return whether oneDNN is the faster library for float32."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and not is_intel()


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none"
) -> Tensor:
    """Multiply (..., K) by a (N, K) weight and add the (N,) bias: (..., N).

    Args:
        x: left operand.
        weight: right operand, transposed.
        bias: added to each row.
        activation: `none`, `relu` or `gelu`, applied to the result.
    """
    if prefers_onednn():
        # oneDNN is slow for matrices that are not contiguous
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.contiguous(), weight.contiguous(), bias, activation, [], "none"
        )
        return fused
    product = F.linear(x, weight, bias)
    return product if activation == "none" else _IN_PLACE[activation](product)


def add_linear(target: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Add the product of (P, K) with a (N, K) weight, and the bias, to (P, N) in place."""
    if prefers_onednn():
        return target.add_(linear(x, weight, bias))
    if bias is not None:
        target.add_(bias)
    return target.addmm_(x, weight.t())


def apply_layer(layer: nn.Linear, x: Tensor, activation: str = "none") -> Tensor:
    """Apply a linear layer and an activation to (..., K)."""
    return linear(x, layer.weight, layer.bias, activation)


def apply_conv1x1(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (..., K) maps whose channels come last."""
    return linear(x, *conv1x1_weights(conv))


def conv1x1_weights(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return the (N, K) weight and (N,) bias of a 1x1 convolution."""
    assert conv.bias is not None
    return conv.weight.flatten(1), conv.bias


def compose_layers(
    owner: nn.Module, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the one linear layer that equals two layers in a row.

    Args:
        owner: module that the result is cached for; one result per module.
        first: weight and bias of the layer that is applied first.
        second: weight and bias of the other layer.
    """
    (a, c), (b, d) = first, second
    weight = cached(owner, "composed weight", (a, c, b, d), lambda: b @ a)
    bias = cached(owner, "composed bias", (a, c, b, d), lambda: b @ c + d)
    return weight, bias
