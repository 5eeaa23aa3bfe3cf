"""EFP selects the right memories, in the right number and order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surgsam2 import EFP
from surgsam2.errors import InputError
from surgsam2.model.pruning import redundancy

BANK = 7


@st.composite
def memories(draw: st.DrawFn) -> torch.Tensor:
    """Draw (B, M, C, P) features, some frames equal to others."""
    batch, count = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    maps = torch.randn(batch, count, 4, 6, generator=generator)
    if draw(st.booleans()) and count > 2:
        maps[:, 1] = maps[:, draw(st.integers(0, count - 1))]
    return maps


def slow_keep(maps: np.ndarray, drop: int) -> list[int]:
    """Return the memories of one object that stay, computed from the definition in loops."""
    count = len(maps)
    scores = {}
    for m in range(1, count - 1):
        total = 0.0
        for p in range(maps.shape[2]):
            a, b = maps[m, :, p].astype(float), maps[-1, :, p].astype(float)
            total += float(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))
        scores[m] = total
    most_similar = sorted(scores, key=lambda m: -scores[m])[:drop]
    return [m for m in range(count) if m not in most_similar]


@given(memories(), st.integers(0, 5), st.sampled_from(["capped", "full-bank", "off"]))
def test_keeps_first_last_order_and_count(maps: torch.Tensor, prune: int, form: str) -> None:
    count = maps.shape[1]
    kept = EFP(form=form, prune=prune).select(maps, BANK)
    expected = {
        "off": count,
        "capped": min(count, BANK - prune),
        "full-bank": count - prune if count >= BANK else count,
    }[form]
    assert kept.shape == (maps.shape[0], max(expected, min(count, 2)))
    for row in kept.tolist():
        assert row == sorted(set(row))
        assert row[0] == 0
        assert row[-1] == count - 1


@given(memories(), st.sampled_from(["capped", "full-bank"]), st.integers(0, 2**31))
def test_ignores_the_scale_of_features(maps: torch.Tensor, form: str, seed: int) -> None:
    scale = 0.1 + 10 * torch.rand(*maps.shape[:2], 1, 1, generator=torch.manual_seed(seed))
    # a power of two changes no mantissa: equal frames stay equal
    scale = torch.exp2(scale.log2().round())
    efp = EFP(form=form)
    assert torch.equal(efp.select(maps, BANK), efp.select(maps * scale, BANK))


@given(memories())
def test_each_object_prunes_its_own(maps: torch.Tensor) -> None:
    together = EFP().select(maps, BANK)
    alone = torch.cat([EFP().select(one[None], BANK) for one in maps])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("seed", range(20))
def test_drops_the_most_similar(seed: int) -> None:
    maps = torch.randn(2, 7, 8, 5, generator=torch.Generator().manual_seed(seed))
    kept = EFP("capped", 2).select(maps, BANK)
    assert kept.tolist() == [slow_keep(one.numpy(), 2) for one in maps]


def test_of_equally_similar_memories_the_newer_stay() -> None:
    maps = torch.randn(1, 1, 4, 6).expand(1, 7, 4, 6)
    assert EFP("capped", 2).select(maps, BANK).tolist() == [[0, 3, 4, 5, 6]]


def test_redundancy_is_the_cosine_summed_over_positions() -> None:
    maps = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[3.0, 3.0], [0.0, 0.0]]]])  # (1, 2, 2, 2)
    assert redundancy(maps).tolist() == [[1.0, 2.0]]


def test_half_precision_features_are_ranked_in_float32() -> None:
    maps = torch.randn(1, 7, 8, 5).to(torch.bfloat16)
    assert redundancy(maps).dtype == torch.float32
    assert torch.equal(EFP().select(maps, BANK), EFP().select(maps.float(), BANK))


@pytest.mark.parametrize(
    ("form", "prune", "text"),
    [("half", 2, "capped, full-bank, off"), ("capped", -1, "got -1"), ("capped", 1.5, "got 1.5")],
)
def test_refuses(form: str, prune: int, text: str) -> None:
    with pytest.raises(InputError, match=text):
        EFP(form=form, prune=prune)
