"""Floating point operations of a frame, and the rate at which the machine does them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

Result = TypeVar("Result")
_SIZE = 1536
"""Rows and columns of the matrices of `matmul_rates`."""
_SECONDS = 0.5
"""Seconds for which each kind of product is repeated."""


def count_flops(function: Callable[[], Result]) -> tuple[int, Result]:
    """Count the floating point operations of `function`'s matrix products and convolutions.

    PyTorch's counter omits fused attention on the CPU and oneDNN's linear layer; they are
    counted here as well.

    Returns:
        The count, in which a multiplication and an addition are two operations, and the
        function's result.
    """
    kinds: dict[Any, Any] = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    }
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        kinds[torch.ops.mkldnn._linear_pointwise] = _linear
    with FlopCounterMode(display=False, custom_mapping=kinds) as counter:
        result = function()
    return counter.get_total_flops(), result


def matmul_rates(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Measure the operations per second of large matrix products.

    On the CPU the rate is per second of CPU time, that is, of one core. Other work that
    shares the core or the memory lowers it, so a rate is comparable only with times that
    were measured in the same minute.

    Returns:
        Library -> rate of its fastest of many products.
    """
    a = torch.randn(_SIZE, _SIZE, device=device, dtype=dtype)
    rates = {"torch.mm": _rate(lambda: torch.mm(a, a), device)}
    if device.type == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        rates["oneDNN"] = _rate(
            lambda: torch.ops.mkldnn._linear_pointwise(a, a, None, "none", [], ""), device
        )
    return rates


def _rate(product: Callable[[], torch.Tensor], device: torch.device) -> float:
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    product()
    best = float("inf")
    until = time.perf_counter() + _SECONDS
    while best == float("inf") or time.perf_counter() < until:
        start = clock()
        product()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, clock() - start)
    return 2 * _SIZE**3 / best


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _linear(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    rows = 1
    for length in x[:-1]:
        rows *= length
    return 2 * rows * int(weight[0]) * int(weight[1])
