"""A cache of results that depend on a network's weights alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

T = TypeVar("T")
_SAMPLE = 512
"""Number of values of a weight that are compared; comparing all would cost more than it saves."""


class _Entry(NamedTuple):
    """A result, and what the weights were when it was computed."""

    versions: list[int]
    """PyTorch's version number of each weight."""
    samples: list[Tensor]
    """Some values of each weight."""
    result: Any


_entries: WeakKeyDictionary[nn.Module, dict[str, _Entry]] = WeakKeyDictionary()


def cached(module: nn.Module, name: str, weights: Sequence[Tensor], compute: Callable[[], T]) -> T:
    """Return ``compute()``, or its earlier result while the weights are unchanged.

    The result is kept as long as the module lives. A change of a weight shows in its version
    number. Fused optimizers and `Tensor.data` leave that as it is, so a sample of the values is
    compared too: all values of a small weight, every nth of a large one.

    Args:
        module: owner of the result.
        name: distinguishes the results of a module.
        weights: tensors that the result depends on.
        compute: makes the result.
    """
    entries = _entries.setdefault(module, {})
    versions = [0 if weight.is_inference() else weight._version for weight in weights]
    samples = [_sample(weight) for weight in weights]
    entry = entries.get(name)
    if entry and entry.versions == versions and all(map(torch.equal, entry.samples, samples)):
        return cast(T, entry.result)
    result = compute()
    entries[name] = _Entry(versions, [sample.clone() for sample in samples], result)
    return result


def _sample(weight: Tensor) -> Tensor:
    """Return some values of a weight, evenly spaced, as one row."""
    # the step is odd, so that the sample meets all columns
    return weight.detach().flatten()[:: weight.numel() // _SAMPLE | 1]
