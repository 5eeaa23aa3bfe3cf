"""The limit that arithmetic sets: operations of a frame, and what the machine can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

Answer = TypeVar("Answer")
_SIZE = 1536
_SECONDS = 0.5


def count_flops(function: Callable[[], Answer]) -> tuple[int, Answer]:
    """Floating point operations of `function`'s matrix products and convolutions.

    PyTorch's counter leaves out fused attention on the CPU, oneDNN's linear layer and products
    that are added in place.

    Returns:
        The count, a multiplication and an addition being two, and the function's answer.
    """
    kinds: dict[Any, Any] = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        torch.ops.aten.addmm_: _added,
    }
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        kinds[torch.ops.mkldnn._linear_pointwise] = _linear
    with FlopCounterMode(display=False, custom_mapping=kinds) as counter:
        answer = function()
    return counter.get_total_flops(), answer


def matmul_rates(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Operations per second of large matrix products, the fastest of many, by who does them.

    On the CPU per second of CPU time, that is, of one core. Other work on the machine makes that
    slower too, where it shares a core or the memory: a rate belongs to the minute it was seen in.
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
        began = clock()
        product()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, clock() - began)
    return 2 * _SIZE**3 / best


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _added(_: Any, one: Any, other: Any, **__: Any) -> int:
    return 2 * int(one[0]) * int(one[1]) * int(other[1])


def _linear(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    rows = 1
    for length in x[:-1]:
        rows *= length
    return 2 * rows * int(weight[0]) * int(weight[1])
