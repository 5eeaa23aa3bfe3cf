"""Attention block by block against softmax in float64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from surgsam2.model.cpu import attention, matmul

pytestmark = [
    pytest.mark.skipif(
        not matmul.is_available(), reason="the CPU backend needs an x86 processor with AVX2"
    ),
    pytest.mark.usefixtures("library"),
]
examples = settings(
    max_examples=60,
    # the fixture chooses one library for all examples
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def exact(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key, value = query.double(), key.double(), value.double()
    scores = query @ key.t() / query.shape[-1] ** 0.5
    return (scores.softmax(-1) @ value).float()


def some(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [8, 16])
def test_more_tokens_than_a_block(channels: int) -> None:
    query, key, value = some(1500, 16, seed=0), some(2000, 16, seed=1), some(2000, channels, seed=2)
    mixed = attention.attention(query, key, value)
    torch.testing.assert_close(mixed, exact(query, key, value), rtol=0, atol=1e-5)


@examples
@given(
    seed=st.integers(0, 10_000),
    keys=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    sizes=st.lists(st.sampled_from([0.0, 1.0, 30.0, 300.0]), min_size=4, max_size=4),
    offsets=st.lists(st.sampled_from([-200.0, -30.0, 0.0, 30.0, 200.0]), min_size=4, max_size=4),
)
def test_scores_of_any_size(
    seed: int, keys: list[int], sizes: list[float], offsets: list[float]
) -> None:
    """Exponentials far out of range are right, with scores of another size and offset per block.

    A block has nine keys, the last one fewer.
    """
    query = some(7, 4, seed=seed)
    query[:, 0] = 2  # the root of 4 channels is 2, so a key's first channel is added to its scores
    parts = []
    for part, (count, size, offset) in enumerate(zip(keys, sizes, offsets, strict=False)):
        key = size * some(9 if part < len(keys) - 1 else count, 4, seed=seed + part)
        key[:, 0] = offset
        parts.append(key)
    key = torch.cat(parts)
    value = some(len(key), 3, seed=seed + 9)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(attention, "_QUERIES", 5)
        patch.setattr(attention, "_KEYS", 9)
        mixed = attention.attention(query, key, value)
    # float32 rounds a score of 1000 to 1e-4
    torch.testing.assert_close(mixed, exact(query, key, value), rtol=0, atol=2e-3)


@pytest.mark.parametrize("offset", [-500.0, 0.0, 60.0, 500.0])
def test_a_common_offset_does_not_matter(offset: float) -> None:
    query, key, value = some(20, 4, seed=0), some(30, 4, seed=1), some(30, 3, seed=2)
    query[:, 0], key[:, 0] = 2, offset
    with torch.no_grad():
        mixed = attention.attention(query, key, value)
        key[:, 0] = 0
        torch.testing.assert_close(mixed, exact(query, key, value), rtol=0, atol=1e-3)


def test_moderate_scores_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    exponentials = attention._exponentials

    def counting(scores: Tensor, shift: Tensor | None) -> Tensor:
        counted.append(scores.shape[1])
        return exponentials(scores, shift)

    monkeypatch.setattr(attention, "_exponentials", counting)
    monkeypatch.setattr(attention, "_KEYS", 8)
    query, key, value = some(20, 4, seed=0), some(20, 4, seed=1), some(20, 3, seed=2)
    with torch.no_grad():
        attention.attention(query, key, value)
        assert counted == [8, 8, 4]
        counted.clear()
        key[10] = 1000
        attention.attention(query, key, value)
    assert counted == [8, 8, 8, 4]


def test_nan_stays_nan() -> None:
    query, key, value = some(3, 4, seed=0), some(5, 4, seed=1), some(5, 3, seed=2)
    query[1, 2] = float("nan")
    with torch.no_grad():
        mixed = attention.attention(query, key, value)
    assert mixed.isnan().any(-1).tolist() == [False, True, False]


def test_another_default_device() -> None:
    """A new thread, which has no buffer yet, makes it on the CPU."""
    query, key, value = some(20, 16, seed=0), some(30, 16, seed=1), some(30, 8, seed=2)

    def attend() -> Tensor:
        with torch.device("meta"), torch.no_grad():
            return attention.attention(query, key, value)

    with ThreadPoolExecutor(1) as pool:
        mixed = pool.submit(attend).result()
    torch.testing.assert_close(mixed, exact(query, key, value), rtol=0, atol=1e-5)
