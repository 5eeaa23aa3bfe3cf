"""The IoU of masks that are logits."""

from __future__ import annotations

import pytest
import torch

from surgsam2.model.overlap import mask_iou


def test_masks_are_where_values_are_above_zero() -> None:
    logits = torch.tensor([[1.0, 2.0], [-1.0, 0.0]])
    truth = torch.tensor([[True, False], [False, False]])
    assert mask_iou(logits, truth).item() == pytest.approx(0.5)
    assert mask_iou(torch.stack([logits, truth.float()]), truth).tolist() == [0.5, 1.0]


def test_two_empty_masks_have_no_overlap() -> None:
    assert mask_iou(torch.full((2, 2), -1.0), torch.zeros(2, 2)).item() == 0
