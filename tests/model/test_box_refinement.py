"""The first mask from a box is made exact by the frame's own features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from surgsam2.model.box_refinement import refine_in_box
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.frame_data import ImageFeatures
from surgsam2.model.network import SurgSAM2Network

SIDE = 32
BOX = torch.tensor([[6.0, 6.0], [26.0, 26.0]])
CORNERS = torch.tensor([2, 3])


def a_square(left: int, top: int, side: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    mask[..., top : top + side, left : left + side] = True
    return mask


OBJECT = a_square(8, 8, 16)
SAME_LOOK = a_square(27, 27, 4)


def features_of(*regions: torch.Tensor) -> ImageFeatures:
    """Features in which each region has a look of its own, with a little noise."""
    generator = torch.Generator().manual_seed(0)
    looks = torch.randn(len(regions) + 1, 8, generator=generator)
    fine = 0.1 * torch.randn(1, 8, SIDE, SIDE, generator=generator) + looks[0, :, None, None]
    for region, look in zip(regions, looks[1:], strict=True):
        fine = fine + region * look[:, None, None]
    coarse = F.avg_pool2d(fine, 4)
    tokens = coarse.flatten(2).permute(2, 0, 1)
    levels = [fine, F.avg_pool2d(fine, 2)]
    return ImageFeatures(tokens, torch.zeros_like(tokens), levels, (SIDE // 4, SIDE // 4))


def patchy(mask: torch.Tensor) -> torch.Tensor:
    """Logits of a decoder that finds half of an object in squares of four pixels."""
    rows, columns = torch.meshgrid(torch.arange(SIDE) // 4, torch.arange(SIDE) // 4, indexing="ij")
    return torch.where(mask & ((rows + columns) % 2 == 0), 3.0, -1.0)


def iou(logits: torch.Tensor, mask: torch.Tensor) -> float:
    return float(((logits > 0) & mask).sum() / ((logits > 0) | mask).sum())


def test_a_patchy_guess_becomes_the_whole_object() -> None:
    guess = patchy(OBJECT)
    assert iou(guess, OBJECT) < 0.6
    assert iou(refine_in_box(features_of(OBJECT), guess, BOX, CORNERS), OBJECT) > 0.9


def test_nothing_is_left_outside_of_the_box() -> None:
    guess = patchy(OBJECT).maximum(torch.where(SAME_LOOK, 5.0, -1.0))
    refined = refine_in_box(features_of(OBJECT | SAME_LOOK), guess, BOX, CORNERS)
    assert not (refined[SAME_LOOK] > 0).any()


@pytest.mark.parametrize(("label", "part"), [(1, True), (0, False)])
def test_a_click_decides_what_looks_like_it(label: int, part: bool) -> None:
    other = a_square(8, 18, 6)  # a part of the object of another look, found by half
    features, guess = features_of(OBJECT & ~other, other), torch.where(OBJECT, 3.0, -1.0)
    guess[..., 18:24, 8:11] = -3.0
    points = torch.cat([BOX, torch.tensor([[11.0, 21.0]])])
    refined = refine_in_box(features, guess, points, torch.tensor([2, 3, label]))
    assert ((refined[other] > 0).float().mean() > 0.5) == part


@pytest.mark.parametrize("logit", [-3.0, 3.0])
def test_a_guess_that_divides_nothing_is_only_cut(logit: float) -> None:
    guess = torch.full((1, 1, SIDE, SIDE), logit)
    refined = refine_in_box(features_of(OBJECT), guess, BOX, CORNERS)
    assert (refined > 0).sum() == (20 * 20 if logit > 0 else 0)


@torch.no_grad()
def test_only_first_masks_from_boxes_are_refined(built_in_config: Path) -> None:
    network = build_network(load_config(str(built_in_config)), "built-in", SurgSAM2Network).eval()
    network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(100.0)  # it is visible
    features = network.encode_image(torch.randn(1, 3, 128, 128))
    corners = torch.tensor([[[30.0, 30.0], [90.0, 90.0]]])
    kinds = torch.tensor([[2, 3]], dtype=torch.int32)
    previous = torch.randn(1, 1, 32, 32)

    def masks() -> list[torch.Tensor]:
        prompts = [(kinds, None), (torch.ones_like(kinds), None), (kinds, previous)]
        return [network.decode_points(features, corners, k, p).low_res for k, p in prompts]

    with_it = masks()
    network.refine_boxes = False
    for refined, plain, changed in zip(with_it, masks(), (True, False, False), strict=True):
        assert torch.equal(refined, plain) != changed
