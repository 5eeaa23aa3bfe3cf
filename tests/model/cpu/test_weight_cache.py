"""The cache of tensors that depend on weights."""

from __future__ import annotations

import pytest
import torch

from surgsam2.model.cpu.weight_cache import cached


@pytest.mark.parametrize("size", [2, 100])
def test_results_are_computed_once_for_the_same_weights(size: int) -> None:
    layer = torch.nn.Linear(size, size)
    calls = []

    def compute() -> torch.Tensor:
        calls.append(1)
        return layer.weight * 2

    for _ in range(3):
        cached(layer, "twice", (layer.weight,), compute)
    assert len(calls) == 1
    with torch.no_grad():
        layer.weight.add_(1)
    assert torch.equal(cached(layer, "twice", (layer.weight,), compute), layer.weight * 2)
    layer.weight.data[0, 0].add_(1)  # the version number stays
    assert torch.equal(cached(layer, "twice", (layer.weight,), compute), layer.weight * 2)
    assert len(calls) == 3
