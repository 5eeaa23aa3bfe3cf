"""The simulated user: how often it does what, and where it clicks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from surgsam2.training.config import PromptConfig
from surgsam2.training.prompting import (
    PromptPlan,
    box_corners,
    clicks_inside,
    corrections,
    draw_plan,
    first_clicks,
)

DRAWS = 4000


@pytest.fixture
def two_masks() -> torch.Tensor:
    """A rectangle of 20x10 pixels at (8, 4), and nothing."""
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 4:14, 8:28] = True
    return masks


def test_kinds_have_the_published_probabilities() -> None:
    rng = np.random.default_rng(0)
    kinds = Counter(draw_plan(PromptConfig(), 8, rng).kind for _ in range(DRAWS))
    for kind, share in {"mask": 0.5, "points": 0.25, "box": 0.25}.items():
        assert kinds[kind] / DRAWS == pytest.approx(share, abs=0.03)


def test_prompted_and_corrected_frames_as_published() -> None:
    rng = np.random.default_rng(1)
    plans = [draw_plan(PromptConfig(), 8, rng) for _ in range(DRAWS)]
    assert all(plan.prompted[0] == 0 for plan in plans)
    prompted = Counter(len(plan.prompted) for plan in plans)
    assert set(prompted) == {1, 2}
    assert prompted[1] / DRAWS == pytest.approx(0.5, abs=0.03)
    for plan in plans:
        if plan.kind == "mask":
            assert plan.corrected == ()
        else:
            # at least the prompted frames, at most two
            assert set(plan.prompted) <= set(plan.corrected)
            assert len(plan.corrected) <= 2
    later = [t for plan in plans for t in plan.prompted[1:]]
    assert set(later) == set(range(1, 8))


def test_masks_always_leave_a_frame_to_learn_from() -> None:
    rng = np.random.default_rng(2)
    plans = [draw_plan(PromptConfig(), 2, rng) for _ in range(200)]
    assert {plan.prompted for plan in plans if plan.kind == "mask"} == {(0,)}
    assert {plan.prompted for plan in plans if plan.kind == "box"} == {(0,), (0, 1)}


def test_a_still_image_is_prompted_by_clicks_only() -> None:
    rng = np.random.default_rng(2)
    plans = [draw_plan(PromptConfig(), 1, rng) for _ in range(200)]
    assert {plan.kind for plan in plans} == {"points", "box"}
    assert {plan.prompted for plan in plans} == {(0,)}
    assert {plan.corrected for plan in plans} == {(0,)}


def test_the_same_seed_draws_the_same() -> None:
    plans = [draw_plan(PromptConfig(), 8, np.random.default_rng(s)) for s in (3, 3, 4)]
    assert plans[0] == plans[1]
    assert len({draw_plan(PromptConfig(), 8, np.random.default_rng(s)) for s in range(9)}) > 1


def test_points_lie_inside_and_are_spread(two_masks: torch.Tensor) -> None:
    clicks = clicks_inside(two_masks, 500, np.random.default_rng(0))
    x, y = clicks.points[0].T.numpy()
    assert (x.min(), x.max()) == (8, 27)
    assert (y.min(), y.max()) == (4, 13)
    assert clicks.labels[0].eq(1).all()
    assert clicks.labels[1].eq(0).all()  # what is not there can only be clicked beside


def test_corrections_are_where_the_network_is_wrong(two_masks: torch.Tensor) -> None:
    config = PromptConfig(from_truth=0.0)
    predicted = two_masks.clone()
    predicted[0, 4:14, 24:28] = False  # missed
    predicted[1, 50:60, 50:60] = True  # invented
    for seed in range(20):
        clicks = corrections(two_masks, predicted, config, np.random.default_rng(seed))
        (x, y), (u, v) = clicks.points[:, 0].tolist()
        assert 24 <= x < 28
        assert 4 <= y < 14
        assert 50 <= u < 60
        assert 50 <= v < 60
        assert clicks.labels.tolist() == [[1], [0]]


def test_corrections_of_a_perfect_mask_are_outside(two_masks: torch.Tensor) -> None:
    config = PromptConfig(from_truth=0.0)
    clicks = corrections(two_masks, two_masks, config, np.random.default_rng(0))
    assert clicks.labels.tolist() == [[0], [0]]
    x, y = clicks.points[0, 0].long().tolist()
    assert not two_masks[0, y, x]


def test_some_corrections_come_from_the_truth(two_masks: torch.Tensor) -> None:
    rng = np.random.default_rng(0)
    wrong = torch.zeros_like(two_masks)
    wrong[0] = two_masks[0]
    wrong[0, 4, 8] = False  # one wrong pixel only
    points = [
        tuple(corrections(two_masks, wrong, PromptConfig(), rng).points[0, 0].tolist())
        for _ in range(1000)
    ]
    elsewhere = sum(p != (8.0, 4.0) for p in points)
    assert elsewhere / 1000 == pytest.approx(0.1, abs=0.03)


def test_boxes_are_near_the_object(two_masks: torch.Tensor) -> None:
    exact = box_corners(two_masks, PromptConfig(box_noise=0), np.random.default_rng(0))
    assert exact.points.tolist() == [[[8, 4], [27, 13]], [[0, 0], [63, 63]]]
    assert exact.labels.tolist() == [[2, 3], [2, 3]]
    rng = np.random.default_rng(0)
    noisy = torch.stack([box_corners(two_masks, PromptConfig(), rng).points for _ in range(200)])
    off = (noisy[:, 0] - exact.points[0]).reshape(-1, 4)
    assert off[:, 0].std().item() == pytest.approx(2.0, rel=0.25)  # a tenth of 20 pixels
    assert off.abs().max() <= 4.0


def test_the_first_prompt_is_of_the_planned_kind(two_masks: torch.Tensor) -> None:
    rng = np.random.default_rng(0)
    points = first_clicks(two_masks, PromptPlan("points", (0,), (), 3), PromptConfig(), rng)
    assert points.labels.shape == (2, 3)
    box = first_clicks(two_masks, PromptPlan("box", (0,), ()), PromptConfig(), rng)
    assert box.labels.tolist() == [[2, 3], [2, 3]]


def test_points_beside_a_box(two_masks: torch.Tensor) -> None:
    """They follow the corners; those outside the object are near it."""
    rng, config = np.random.default_rng(5), PromptConfig(box_points=2, box_noise=0)
    numbers = set()
    for _ in range(60):
        clicks = first_clicks(two_masks, PromptPlan("box", (0,), ()), config, rng)
        assert clicks.labels[0, :2].tolist() == [2, 3]
        numbers.add(clicks.labels.shape[1] - 2)
        for (x, y), label in zip(clicks.points[0, 2:], clicks.labels[0, 2:], strict=True):
            assert bool(two_masks[0, int(y), int(x)]) == bool(label)
            assert 5 <= x <= 30
            assert 2 <= y <= 15
    assert numbers == {0, 1, 2}
