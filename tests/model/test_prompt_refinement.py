"""First masks and corrections are made exact by what the frame shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.frame_data import ImageFeatures
from surgsam2.model.network import SurgSAM2Network
from surgsam2.model.prompt_refinement import _class_values, correct_mask, refine_mask

SIDE = 32
BOX = torch.tensor([[6.0, 6.0], [26.0, 26.0]])
CORNERS = torch.tensor([2, 3])
ON, OFF = torch.tensor([1]), torch.tensor([0])
CENTRE = torch.tensor([[16.0, 16.0]])


def a_square(left: int, top: int, side: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    mask[..., top : top + side, left : left + side] = True
    return mask


OBJECT = a_square(8, 8, 16)
SAME_LOOK = a_square(27, 27, 4)


def a_frame(*regions: torch.Tensor) -> tuple[ImageFeatures, torch.Tensor]:
    """Features and a picture in which each region has a look of its own, with a little noise."""
    generator = torch.Generator().manual_seed(0)
    looks = torch.randn(len(regions) + 1, 11, generator=generator)
    seen = 0.1 * torch.randn(1, 11, SIDE, SIDE, generator=generator) + looks[0, :, None, None]
    for region, look in zip(regions, looks[1:], strict=True):
        seen = seen + region * look[:, None, None]
    colours, fine = seen.split([3, 8], dim=1)
    coarse = F.avg_pool2d(fine, 4)
    tokens = coarse.flatten(2).permute(2, 0, 1)
    levels = [fine, F.avg_pool2d(fine, 2)]
    features = ImageFeatures(tokens, torch.zeros_like(tokens), levels, (SIDE // 4, SIDE // 4))
    return features, F.interpolate(colours, scale_factor=4)


def patchy(mask: torch.Tensor) -> torch.Tensor:
    """Logits of a decoder that finds half of an object in squares of four pixels."""
    rows, columns = torch.meshgrid(torch.arange(SIDE) // 4, torch.arange(SIDE) // 4, indexing="ij")
    return torch.where(mask & ((rows + columns) % 2 == 0), 3.0, -1.0)


def iou(logits: torch.Tensor, mask: torch.Tensor) -> float:
    return float(((logits > 0) & mask).sum() / ((logits > 0) | mask).sum())


@pytest.mark.parametrize(("points", "labels"), [(BOX, CORNERS), (CENTRE, ON)])
def test_a_patchy_guess_becomes_the_whole_object(
    points: torch.Tensor, labels: torch.Tensor
) -> None:
    guess = patchy(OBJECT)
    assert iou(guess, OBJECT) < 0.6
    assert iou(refine_mask(*a_frame(OBJECT), guess, points, labels), OBJECT) > 0.9


def test_a_refined_mask_is_certain_but_for_its_edges() -> None:
    """Mask motion gives up hesitant masks."""
    refined = refine_mask(*a_frame(OBJECT), patchy(OBJECT), BOX, CORNERS)
    assert (refined.abs() > 10).float().mean() > 0.9


@pytest.mark.parametrize(("points", "labels"), [(BOX, CORNERS), (CENTRE, ON)])
def test_the_same_look_elsewhere_is_left_out(points: torch.Tensor, labels: torch.Tensor) -> None:
    """Outside of the box it is known to be another; without one it is not connected to a click."""
    guess = patchy(OBJECT).maximum(torch.where(SAME_LOOK, 5.0, -1.0))
    refined = refine_mask(*a_frame(OBJECT | SAME_LOOK), guess, points, labels)
    assert not (refined[SAME_LOOK] > 0).any()
    assert iou(refined, OBJECT) > 0.8


def test_two_parts_stay_where_both_are_clicked() -> None:
    guess = patchy(OBJECT).maximum(torch.where(SAME_LOOK, 5.0, -1.0))
    points = torch.cat([CENTRE, torch.tensor([[29.0, 29.0]])])
    refined = refine_mask(*a_frame(OBJECT | SAME_LOOK), guess, points, torch.tensor([1, 1]))
    assert (refined[SAME_LOOK] > 0).all()


@pytest.mark.parametrize(("label", "part"), [(1, True), (0, False)])
@pytest.mark.parametrize("corners", [2, 0])
def test_a_click_decides_what_looks_like_it(label: int, part: bool, corners: int) -> None:
    other = a_square(8, 18, 6)  # a part of the object of another look, found by half
    guess = torch.where(OBJECT, 3.0, -1.0)
    guess[..., 18:24, 8:11] = -3.0
    points = torch.cat([BOX[:corners], CENTRE, torch.tensor([[11.0, 21.0]])])
    labels = torch.cat([CORNERS[:corners], torch.tensor([1, label])])
    refined = refine_mask(*a_frame(OBJECT & ~other, other), guess, points, labels)
    assert ((refined[other] > 0).float().mean() > 0.5) == part


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("boxed", [True, False])
def test_clicks_are_obeyed_and_nothing_leaves_the_box(seed: int, boxed: bool) -> None:
    """Also at the size of the video, however little the picture agrees with them."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(16, generator=generator)[:4]  # apart, in the corners of 4x4 squares
    clicks = torch.stack([cells % 4, cells // 4], dim=1) * 5.0 + 6.5
    labels = torch.tensor([1, 0, 1, 0])
    guess = torch.randn(1, 1, SIDE, SIDE, generator=generator)
    corners = 2 if boxed else 0
    points, kinds = torch.cat([BOX[:corners], clicks]), torch.cat([CORNERS[:corners], labels])
    refined = refine_mask(*a_frame(OBJECT), guess, points, kinds)
    shown = F.interpolate(refined, scale_factor=5, mode="bilinear")[0, 0] > 0
    x, y = (clicks * 5).long().unbind(dim=1)
    assert shown[y, x].tolist() == [True, False, True, False]
    if boxed:
        assert not (refined[~a_square(6, 6, 20)] > 0).any()


@pytest.mark.parametrize("logit", [-3.0, 3.0])
def test_a_guess_that_divides_nothing_is_only_cut(logit: float) -> None:
    guess = torch.full((1, 1, SIDE, SIDE), logit)
    refined = refine_mask(*a_frame(OBJECT), guess, BOX, CORNERS)
    assert (refined > 0).sum() == (20 * 20 if logit > 0 else 0)
    assert torch.equal(refine_mask(*a_frame(OBJECT), guess, CENTRE, ON), guess)


PIECE = a_square(24, 12, 6)
"""A part of the frame that looks different, at the right edge of the object."""
PIECE_CLICK = torch.tensor([[27.0, 15.0]])
HARMFUL = torch.full((1, 1, SIDE, SIDE), -3.0)
"""Logits of a decoder that finds nothing at all for a click."""


def given(mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask, 10.0, -10.0)


def test_a_click_takes_away_what_looks_like_it() -> None:
    frame, previous = a_frame(OBJECT, PIECE), given(OBJECT | PIECE)
    corrected = correct_mask(*frame, HARMFUL, previous, PIECE_CLICK, OFF)
    assert iou(corrected, OBJECT) > 0.95
    far = a_square(8, 8, 10)
    assert torch.equal(corrected[far], previous[far])


def test_a_click_adds_what_looks_like_it() -> None:
    frame, missing = a_frame(OBJECT), a_square(8, 18, 6)
    previous = given(OBJECT & ~missing)
    corrected = correct_mask(*frame, HARMFUL, previous, torch.tensor([[11.0, 21.0]]), ON)
    assert iou(corrected, OBJECT) > 0.95
    assert ((corrected > 0) >= (previous > 0)).all(), "a click on the object takes nothing away"


def test_a_click_on_what_is_right_changes_nothing() -> None:
    frame, previous = a_frame(OBJECT, PIECE), given(OBJECT)
    for click, label in ((PIECE_CLICK, OFF), (CENTRE, ON)):
        assert torch.equal(correct_mask(*frame, HARMFUL, previous, click, label), previous)


def test_clicks_of_both_kinds_each_change_their_own_region() -> None:
    frame, missing = a_frame(OBJECT, PIECE), a_square(8, 18, 6)
    previous = given(OBJECT & ~missing | PIECE)
    clicks, labels = torch.cat([PIECE_CLICK, torch.tensor([[11.0, 21.0]])]), torch.tensor([0, 1])
    assert iou(correct_mask(*frame, HARMFUL, previous, clicks, labels), OBJECT) > 0.95


@pytest.mark.parametrize("logit", [-3.0, 3.0])
def test_a_mask_of_nothing_or_everything_is_not_corrected(logit: float) -> None:
    previous = torch.full((1, 1, SIDE, SIDE), logit)
    found = correct_mask(*a_frame(OBJECT), patchy(OBJECT), previous, CENTRE, ON)
    assert torch.equal(found, patchy(OBJECT))


def test_the_classifier_is_weighted_ridge_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, 64, generator=generator, dtype=torch.float64)
    guess = torch.randn(8, 8, generator=generator, dtype=torch.float64).tanh()
    click = torch.tensor([[4.0, 3.0]])
    flat = guess.flatten().numpy()
    target, weight = np.sign(flat), np.abs(flat)
    weight /= np.where(target > 0, weight[target > 0].sum(), weight[target < 0].sum())
    near = np.zeros((8, 8), bool)
    near[1:5, 2:6] = True
    target[near.ravel()], weight[near.ravel()] = -1, 0.1 / near.sum()
    # the ridge as five more rows of the least squares
    rows = np.concatenate([np.sqrt(weight)[:, None] * inputs.numpy().T, 0.1 * np.eye(5)])
    wanted = np.concatenate([np.sqrt(weight) * target, np.zeros(5)])
    coefficients = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    values = _class_values(inputs, guess, click, OFF)
    np.testing.assert_allclose(values.flatten(), coefficients @ inputs.numpy(), atol=1e-10)


@torch.no_grad()
def test_a_network_refines_by_its_configuration(built_in_config: Path) -> None:
    network = build_network(load_config(str(built_in_config)), "built-in", SurgSAM2Network).eval()
    image = F.interpolate(a_frame(OBJECT)[1], size=(network.image_size, network.image_size))
    features = network.encode_image(image)
    points = torch.tensor([[[30.0, 30.0], [90.0, 90.0]]])
    kinds = torch.tensor([[2, 3]], dtype=torch.int32)
    decoded = network.decode_points(features, points, kinds)
    side = decoded.low_res.shape[-1]
    guess = F.interpolate(patchy(OBJECT), size=(side, side))
    decoded = type(decoded)(**{**vars(decoded), "low_res": guess})
    refined = network.refine_prompted(features, image, decoded, points, kinds)
    assert not torch.equal(refined.low_res, guess)
    larger = F.interpolate(refined.low_res, size=decoded.high_res.shape[-2:], mode="bilinear")
    assert torch.equal(refined.high_res, larger)
    network.refine_prompts = False
    assert network.refine_prompted(features, image, decoded, points, kinds) is decoded
