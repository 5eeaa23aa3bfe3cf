"""Loss values against ones worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from surgsam2.training.config import LossConfig
from surgsam2.training.losses import (
    SegmentationLoss,
    cross_entropy_loss,
    dice_loss,
    focal_loss,
)
from surgsam2.training.rollout import Step

HALF = torch.zeros(2, 2)
"""Logits of probability 1/2."""
ONE_OF_FOUR = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
SURE = 20.0 * (2 * ONE_OF_FOUR - 1)


def test_cross_entropy_of_a_coin() -> None:
    assert cross_entropy_loss(HALF, ONE_OF_FOUR).item() == pytest.approx(math.log(2))


def test_focal_loss_of_a_coin() -> None:
    # inside 0.25 * 0.5^2 * ln 2, outside 0.75 * 0.5^2 * ln 2
    expected = (0.25 + 3 * 0.75) / 4 * 0.25 * math.log(2)
    assert focal_loss(HALF, ONE_OF_FOUR, 0.25, 2.0).item() == pytest.approx(expected)


def test_dice_loss_of_a_coin() -> None:
    # overlap 0.5, sums 2 and 1, 1 added above and below
    assert dice_loss(HALF, ONE_OF_FOUR).item() == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))


def a_step(masks: list[torch.Tensor], ious: list[float], presence: float) -> Step:
    return Step(0, torch.stack(masks)[None], torch.tensor([ious]), torch.tensor([[presence]]))


def test_only_the_best_mask_is_trained_but_every_estimate() -> None:
    step = a_step([HALF.clone().requires_grad_(), SURE], [0.4, 0.7], 0.0)
    loss = SegmentationLoss(LossConfig())([step], (ONE_OF_FOUR > 0)[None, None])
    assert loss.terms["dice"].item() == pytest.approx(0.0, abs=1e-6)
    assert loss.terms["focal"].item() == pytest.approx(0.0, abs=1e-6)
    # a logit of 0 is outside: the coin's mask is empty and its IoU 0
    assert loss.terms["iou"].item() == pytest.approx((0.4 + 0.3) / 2)
    assert loss.terms["presence"].item() == pytest.approx(math.log(2))
    assert loss.total.item() == pytest.approx(0.35 + math.log(2), abs=1e-5)


def test_weights_are_those_of_the_configuration() -> None:
    step = a_step([HALF], [0.0], 0.0)
    truth = (ONE_OF_FOUR > 0)[None, None]
    loss = SegmentationLoss(LossConfig(iou=0, presence=0))([step], truth)
    focal, dice = loss.terms["focal"].item(), loss.terms["dice"].item()
    assert loss.total.item() == pytest.approx(20 * focal + dice)
    cold = SegmentationLoss(LossConfig(focal=0, cross_entropy=3, iou=0, presence=0))([step], truth)
    assert "focal" not in cold.terms
    assert cold.total.item() == pytest.approx(3 * math.log(2) + dice)


def test_an_object_out_of_sight_counts_by_its_presence_alone() -> None:
    step = a_step([SURE], [0.9], 2.0)
    loss = SegmentationLoss(LossConfig())([step], torch.zeros(1, 1, 2, 2, dtype=torch.bool))
    assert loss.terms["dice"].item() == loss.terms["focal"].item() == 0
    assert loss.terms["iou"].item() == 0
    assert loss.total.item() == pytest.approx(math.log(1 + math.exp(2)))


def test_outputs_of_one_frame_add_up() -> None:
    step = a_step([HALF], [0.0], 0.0)
    truth = (ONE_OF_FOUR > 0)[None, None]
    loss = SegmentationLoss(LossConfig())
    assert loss([step, step], truth).total.item() == pytest.approx(
        2 * loss([step], truth).total.item()
    )


def test_nothing_to_learn_from_is_zero() -> None:
    loss = SegmentationLoss(LossConfig())([], torch.zeros(1, 1, 2, 2, dtype=torch.bool))
    assert loss.total.item() == 0
    assert not loss.total.requires_grad


def test_the_mask_of_an_object_out_of_sight_is_to_be_empty() -> None:
    """Only where the setting asks for it, and not where the object is seen."""
    step = a_step([HALF], [0.0], 0.0)
    nothing, something = torch.zeros(1, 1, 2, 2, dtype=torch.bool), (ONE_OF_FOUR > 0)[None, None]
    loss = SegmentationLoss(LossConfig(presence=0, absent=3))
    assert loss([step], nothing).total.item() == pytest.approx(3 * math.log(2))
    assert loss([step], something).terms["absent"].item() == 0
    assert SegmentationLoss(LossConfig(presence=0))([step], nothing).total.item() == 0
