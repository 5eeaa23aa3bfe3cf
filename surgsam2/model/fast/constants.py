"""Results that depend on weights alone, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_kept: WeakKeyDictionary[nn.Module, dict[str, tuple[list[Tensor], Tensor]]] = WeakKeyDictionary()


def remembered(
    module: nn.Module, name: str, weights: Sequence[Tensor], compute: Callable[[], Tensor]
) -> Tensor:
    """``compute()``, or its earlier result while the weights are unchanged.

    Kept for as long as the module lives. The weights are compared by value, with copies:
    they are small, and fused optimizers and `Tensor.data` change them without a trace.
    """
    results = _kept.setdefault(module, {})
    if name in results:
        copies, result = results[name]
        if all(map(torch.equal, copies, weights)):
            return result
    result = compute()
    results[name] = ([weight.detach().clone() for weight in weights], result)
    return result
