"""Wrong masks for memories: of every kind, the same in every frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from surgsam2.training.disturbance import Disturbance


def two_squares(shift: int = 0) -> torch.Tensor:
    masks = torch.zeros(2, 96, 96, dtype=torch.bool)
    masks[0, 10:40, 10 + shift : 40 + shift] = True
    masks[1, 60:80, 50:80] = True
    return masks


def of_kind(kind: str, objects: int = 2) -> Disturbance:
    """Return the first disturbance whose first object has this kind of error."""
    for seed in range(1000):
        found = Disturbance(objects, np.random.default_rng(seed))
        if found.kinds[0] == kind:
            return found
    raise AssertionError(f"no error of kind {kind}")


def iou(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_every_kind_does_what_its_name_says() -> None:
    masks = two_squares()
    assert torch.equal(of_kind("right").of(masks)[0], masks[0])
    assert not of_kind("none").of(masks)[0].any()
    part = of_kind("part").of(masks)[0]
    assert not (part & ~masks[0]).any()
    assert 0 < part.sum() < masks[0].sum()
    edge = of_kind("edge").of(masks)[0]
    assert 0.1 < iou(edge, masks[0]) < 1
    other = of_kind("other").of(masks)[0]
    assert iou(other, masks[0]) in (0, 1) or iou(other, masks[0] | masks[1]) == 1


@pytest.mark.parametrize("kind", ["edge", "part"])
def test_the_error_is_the_same_in_every_frame(kind: str) -> None:
    """A mask that moves by a pixel has nearly the same error, one that stays has exactly it."""
    wrong = of_kind(kind)
    first, again, moved = (wrong.of(two_squares(shift))[0] for shift in (0, 0, 1))
    assert torch.equal(first, again)
    assert iou(first, moved) > 0.85


def test_masks_of_absent_objects_stay_empty() -> None:
    nothing = torch.zeros(3, 32, 32, dtype=torch.bool)
    assert not Disturbance(3, np.random.default_rng(0)).of(nothing).any()
