"""Results that depend on weights alone, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_SAMPLE = 512
"""Values of a weight that are compared: a look at all of them would take longer than it saves."""


class _Kept(NamedTuple):
    versions: list[int]
    samples: list[Tensor]
    result: Tensor


_kept: WeakKeyDictionary[nn.Module, dict[str, _Kept]] = WeakKeyDictionary()


def remembered(
    module: nn.Module, name: str, weights: Sequence[Tensor], compute: Callable[[], Tensor]
) -> Tensor:
    """``compute()``, or its earlier result while the weights are unchanged.

    Kept for as long as the module lives. Changes are told by the weights' version numbers and,
    as fused optimizers and `Tensor.data` leave those as they are, by a sample of the values: all
    of a small weight, every nth of a large one.
    """
    results = _kept.setdefault(module, {})
    versions = [0 if weight.is_inference() else weight._version for weight in weights]
    samples = [_sample(weight) for weight in weights]
    kept = results.get(name)
    if kept and kept.versions == versions and all(map(torch.equal, kept.samples, samples)):
        return kept.result
    result = compute()
    results[name] = _Kept(versions, [sample.clone() for sample in samples], result)
    return result


def _sample(weight: Tensor) -> Tensor:
    return weight.detach().flatten()[:: weight.numel() // _SAMPLE | 1]  # odd, to meet all columns
