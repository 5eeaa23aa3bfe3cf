"""Matrix products by oneDNN.

On the CPU PyTorch gives float32 products to MKL, which uses half the vector width of
processors it does not know: on an AMD EPYC with AVX-512 `torch.mm` does 91 GFLOP/s per
core, oneDNN 205. oneDNN comes with PyTorch; `mkldnn::_linear_pointwise` is the operator
through which PyTorch's own compiler reaches it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FEWEST_ROWS = 32
_ROWS_AT_A_TIME = 512
"""Most queries whose scores are held at once: more no longer fit into the processor's cache."""


def available() -> bool:
    """Whether oneDNN can be reached, on a processor it was measured on: AVX2 or AVX-512."""
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and (
        torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    )


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none"
) -> Tensor:
    """(..., K) by (N, K) to (..., N); `activation` is none, relu or gelu."""
    # on AVX2 oneDNN's gelu takes a third of the product's time, PyTorch's a tenth
    apart = activation == "gelu" and torch.backends.cpu.get_cpu_capability() == "AVX2"
    # oneDNN takes contiguous matrices; of others it makes very slow work
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        x.contiguous(), weight.contiguous(), bias, "none" if apart else activation, [], "none"
    )
    return torch.ops.aten.gelu_(product) if apart else product


def through(layer: nn.Linear, x: Tensor, activation: str = "none") -> Tensor:
    """(..., K) through a linear layer."""
    return linear(x, layer.weight, layer.bias, activation)


def matrix(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """(N, K) weight and (N,) bias of a 1x1 convolution."""
    assert conv.bias is not None
    return conv.weight.flatten(1), conv.bias


def pixelwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """(..., K) maps, channels last, through a 1x1 convolution."""
    return linear(x, *matrix(conv))


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One head's softmax(query key^T / sqrt(D)) value: (P, D), (N, D), (N, V) to (P, V).

    For thousands of tokens; the values may have other channels than the keys.
    """
    query = query * query.shape[-1] ** -0.5
    key, value = key.contiguous(), value.t().contiguous()
    parts = query.chunk(math.ceil(len(query) / _ROWS_AT_A_TIME))
    return torch.cat([linear(linear(part, key).softmax(dim=-1), value) for part in parts])


class FastLinear(TorchFunctionMode):
    """Inside, every linear layer of some size is oneDNN's: for modules that run themselves."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is F.linear and not kwargs and args[0].shape[:-1].numel() >= _FEWEST_ROWS:
            return linear(*args)
        return function(*args, **(kwargs or {}))
