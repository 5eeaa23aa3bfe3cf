"""Matrix products by whichever of PyTorch's two libraries is faster here.

On the CPU PyTorch gives float32 products to MKL, which uses half the vector width of
processors that are not Intel's: on an AMD EPYC with AVX-512 `torch.mm` does 91 GFLOP/s per
core, oneDNN 205. oneDNN comes with PyTorch; `mkldnn::_linear_pointwise` is the operator
through which PyTorch's own compiler reaches it. Where both use the whole width MKL is faster on
the shapes of Hiera-S and its memory attention: on AVX2 by a tenth, on an Intel Xeon with AVX-512
by 12 % in memory attention and 1 % in the image encoder. But PyTorch writes a bias to memory
before MKL adds the product, and oneDNN does both at once: large products of few channels, such as
the keys of the memories, take it 10 to 20 % less time there too.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgsam2.model.cpu.processor import is_intel
from surgsam2.model.cpu.weight_cache import remembered

_IN_PLACE = {"relu": torch.ops.aten.relu_, "gelu": torch.ops.aten.gelu_}
_FEW_CHANNELS, _LARGE = 64, 2**19
"""Of what is multiplied, and values of the product."""


def available() -> bool:
    """Whether this is a processor that the choice was measured on: AVX2 or AVX-512."""
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and (
        torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    )


@cache
def by_onednn() -> bool:
    """Whether oneDNN is the faster one."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and not is_intel()


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none"
) -> Tensor:
    """(..., K) by (N, K) to (..., N); `activation` is none, relu or gelu."""
    outputs, channels = weight.shape
    large = x.numel() // channels * outputs >= _LARGE
    if by_onednn() or (large and channels <= _FEW_CHANNELS):
        # oneDNN takes contiguous matrices; of others it makes very slow work
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.contiguous(), weight.contiguous(), bias, activation, [], "none"
        )
        return fused
    product = F.linear(x, weight, bias)
    return product if activation == "none" else _IN_PLACE[activation](product)


def add_product(place: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(P, K) by (N, K) and the bias, added to (P, N) in place."""
    if by_onednn():
        return place.add_(linear(x, weight, bias))
    if bias is not None:
        place.add_(bias)
    return place.addmm_(x, weight.t())


def add_two_layers(place: Tensor, x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """(P, K) through two layers with ReLU between them, added to (P, N) in place."""
    if by_onednn():
        return place.add_(through(second, through(first, x, "relu")))
    # relu(y + b) = max(y, -b) + b, and what the second layer makes of b is one vector: that
    # passes over the hidden values once, a bias and ReLU twice
    hidden = linear(x, first.weight)
    torch.maximum(hidden, -first.bias, out=hidden)
    weights = (first.bias, second.weight, second.bias)
    bias = remembered(second, "bias", weights, lambda: second.weight @ first.bias + second.bias)
    return add_product(place, hidden, second.weight, bias)


def through(layer: nn.Linear, x: Tensor, activation: str = "none") -> Tensor:
    """(..., K) through a linear layer."""
    return linear(x, layer.weight, layer.bias, activation)


def as_one(
    owner: nn.Module, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Weight and bias of two layers, one after the other, as the one that they amount to.

    `owner` is the module that the result is remembered for, one result each.
    """
    (a, c), (b, d) = first, second
    weight = remembered(owner, "weight as one", (a, c, b, d), lambda: b @ a)
    bias = remembered(owner, "bias as one", (a, c, b, d), lambda: b @ c + d)
    return weight, bias


def matrix(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """(N, K) weight and (N,) bias of a 1x1 convolution."""
    assert conv.bias is not None
    return conv.weight.flatten(1), conv.bias


def pixelwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """(..., K) maps, channels last, through a 1x1 convolution."""
    return linear(x, *matrix(conv))
