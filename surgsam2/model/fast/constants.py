"""Results that depend on weights alone, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from torch import Tensor, nn

_kept: WeakKeyDictionary[nn.Module, dict[str, tuple[object, Tensor]]] = WeakKeyDictionary()


def remembered(
    module: nn.Module, name: str, weights: Sequence[Tensor], compute: Callable[[], Tensor]
) -> Tensor:
    """``compute()``, or its earlier result while the weights are unchanged.

    Kept for as long as the module lives. Loading, training or moving the weights makes it
    be computed anew.
    """
    state = tuple((weight.data_ptr(), weight._version) for weight in weights)
    results = _kept.setdefault(module, {})
    if name not in results or results[name][0] != state:
        results[name] = (state, compute())
    return results[name][1]
