"""Matrix products in float32 or bfloat16, by the faster of PyTorch's libraries oneDNN and MKL.

On the CPU PyTorch gives float32 products to MKL, which uses half the vector width of
processors that are not Intel's: on an AMD EPYC with AVX-512 `torch.mm` computes 91 GFLOP/s per
core, oneDNN 205. oneDNN comes with PyTorch; `mkldnn::_linear_pointwise` is the operator
through which PyTorch's own compiler calls it. On AVX2, and on Intel processors with AVX-512,
MKL is faster by up to a tenth on the shapes of Hiera-S and its memory attention. bfloat16
products are always oneDNN's; on an AMD EPYC with AVX512-BF16 it computes them 2.0 to 2.2 times
as fast as float32 ones. Operands and results are rounded to bfloat16, sums are float32.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgsam2.model.cpu.processor import has_bfloat16_products, is_intel
from surgsam2.model.cpu.weight_cache import cached
from surgsam2.model.efficientnet import Convolution

_IN_PLACE = {"relu": torch.ops.aten.relu_, "gelu": torch.ops.aten.gelu_}


def is_available(dtype: torch.dtype = torch.float32) -> bool:
    """Return whether products of this precision can be computed here.

    float32 needs AVX2 or AVX-512, on which the choice was measured, and bfloat16 AVX-512.
    """
    return (
        hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        and (dtype != torch.bfloat16 or has_bfloat16_products())
    )


@cache
def prefers_onednn() -> bool:
    """Return whether oneDNN is the faster library for float32."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and not is_intel()


def uses_onednn(dtype: torch.dtype) -> bool:
    """Return whether products of this precision are computed by oneDNN."""
    return dtype == torch.bfloat16 or prefers_onednn()


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none"
) -> Tensor:
    """Multiply (..., K) by a (N, K) weight and add the (N,) bias: (..., N).

    Args:
        x: left operand.
        weight: right operand, transposed, with the dtype of `x`.
        bias: added to each row, with the dtype of `x` or float32.
        activation: `none`, `relu` or `gelu`, applied to the result.
    """
    if uses_onednn(x.dtype):
        # oneDNN is slow for matrices that are not contiguous
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.contiguous(), weight.contiguous(), bias, activation, [], "none"
        )
        return fused
    product = F.linear(x, weight, bias)
    return product if activation == "none" else _IN_PLACE[activation](product)


def add_linear(target: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Add the product of (P, K) with a (N, K) weight, and the bias, to (P, N) in place."""
    return target.add_(linear(x, weight, bias))


def apply_layer(layer: nn.Linear, x: Tensor, activation: str = "none") -> Tensor:
    """Apply a linear layer and an activation to (..., K), in the precision of `x`."""
    return linear(x, *layer_weights(layer, x.dtype), activation)


def apply_conv1x1(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (..., K) maps whose channels come last, as `apply_layer`."""
    weight, bias = layer_weights(conv, x.dtype)
    return linear(x, weight.flatten(1), bias)


def apply_conv(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply any other convolution to (B, K, H, W) in the precision of `x`."""
    weight, bias = layer_weights(conv, x.dtype)
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def convolve(layer: Convolution, x: Tensor, activate: bool) -> Tensor:
    """Apply a convolution, and ReLU6 in the same pass over the memory, as `Convolve`.

    oneDNN does both at once through the operator by which PyTorch's own compiler calls it. It pads
    all sides alike, so where the right and the bottom need more, zeros are added to the left and
    the top of the weight; a padded copy of the map would take longer than the convolution.
    """
    (weight, bias), (before, after) = layer_weights(layer, x.dtype), layer.zeros
    if before != after:
        more = after - before
        weight = cached(
            layer, f"even {x.dtype}", (weight,), lambda: F.pad(weight, (more, 0, more, 0))
        )
    activation = ("hardtanh", [0.0, 6.0]) if activate else ("none", [])
    output: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, [after, after], layer.stride, layer.dilation, layer.groups, *activation, ""
    )
    return output


def layer_weights(layer: nn.Linear | nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a layer in a precision; conversions are cached."""
    weight, bias = layer.weight, layer.bias
    assert bias is not None
    if dtype == weight.dtype:
        return weight, bias
    return cached(layer, str(dtype), (weight, bias), lambda: (weight.to(dtype), bias.to(dtype)))


def compose_layers(
    owner: nn.Module,
    first: nn.Linear | nn.Conv2d,
    second: nn.Linear | nn.Conv2d,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the one linear layer that equals two layers in a row.

    The product of the weights is computed in float32.

    Args:
        owner: module that the result is cached for; one result per module.
        first: linear layer or 1x1 convolution that is applied first.
        second: the other layer.
        dtype: precision of the result.
    """
    (a, c), (b, d) = (layer_weights(layer, torch.float32) for layer in (first, second))

    def compose() -> tuple[Tensor, Tensor]:
        weight = b.flatten(1)
        return (weight @ a.flatten(1)).to(dtype), (weight @ c + d).to(dtype)

    return cached(owner, f"composed {dtype}", (a, c, b, d), compose)
