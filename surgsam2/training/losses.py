"""The published losses of SAM 2, and cross entropy for training from random weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from surgsam2.model.overlap import mask_iou
from surgsam2.training.config import LossConfig
from surgsam2.training.rollout import Step

_SMOOTH = 1.0
"""What Dice adds to each of its sums, so that empty masks do not divide by 0."""


def focal_loss(
    logits: torch.Tensor, targets: torch.Tensor, alpha: float, gamma: float
) -> torch.Tensor:
    """Return the focal loss of (..., H, W) logits against targets 0 and 1, averaged to (...)."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    wrong = probability * (1 - targets) + (1 - probability) * targets
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return (weight * wrong**gamma * entropy).mean(dim=(-2, -1))


def cross_entropy_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of (..., H, W) logits against 0 and 1, averaged to (...)."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return entropy.mean(dim=(-2, -1))


def dice_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return 1 - Dice of the probabilities of (..., H, W) logits, each sum plus 1: (...)."""
    probability = logits.sigmoid()
    overlap = (probability * targets).sum(dim=(-2, -1))
    total = probability.sum(dim=(-2, -1)) + targets.sum(dim=(-2, -1))
    return 1 - (2 * overlap + _SMOOTH) / (total + _SMOOTH)


@dataclass(frozen=True)
class LossTerms:
    """Loss terms, summed over the outputs of a clip and averaged over its objects."""

    total: torch.Tensor
    """The weighted sum, which is minimised."""
    terms: dict[str, torch.Tensor]
    """Each term without its weight, detached."""


class SegmentationLoss:
    """The loss of all outputs of a rollout.

    Of the candidate masks only the best one, by the mask terms, contributes; the IoU
    estimates of all of them do. Where the object is not visible only its presence counts, and
    with `LossConfig.absent` the cross entropy of every candidate against an empty mask.
    Masks are compared at the network's input resolution, before SAM 2 blanks those of
    objects that the presence head does not see.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def __call__(self, steps: Iterable[Step], masks: torch.Tensor) -> LossTerms:
        """Return the loss of `steps` against the (T, O, S, S) bool truth of the clip's frames."""
        sums: dict[str, torch.Tensor] = {}
        for step in steps:
            for name, value in self._of_step(step, masks[step.frame]).items():
                sums[name] = sums[name] + value if name in sums else value
        total = sum(
            (getattr(self.config, name) * value for name, value in sums.items()),
            start=masks.new_zeros((), dtype=torch.float32),
        )
        return LossTerms(total, {name: value.detach() for name, value in sums.items()})

    def _of_step(self, step: Step, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the terms of one output against its (O, S, S) bool truth, without weights."""
        config = self.config
        size = truth.shape[-2:]
        logits = F.interpolate(step.masks.float(), size=size, mode="bilinear", align_corners=False)
        targets = truth[:, None].float().expand_as(logits)
        present = truth.flatten(1).any(dim=1).float()
        candidates = {"dice": dice_loss(logits, targets)}
        if config.focal:
            candidates["focal"] = focal_loss(
                logits, targets, config.focal_alpha, config.focal_gamma
            )
        if config.cross_entropy:
            candidates["cross_entropy"] = cross_entropy_loss(logits, targets)
        with torch.no_grad():
            weighted = sum(getattr(config, k) * v for k, v in candidates.items())
            assert isinstance(weighted, torch.Tensor)
            best = weighted.argmin(dim=1, keepdim=True)
            iou = mask_iou(logits, targets)
        terms = {
            name: (value.gather(1, best)[:, 0] * present).mean()
            for name, value in candidates.items()
        }
        if config.absent:
            empty = cross_entropy_loss(logits, torch.zeros_like(logits)).mean(dim=1)
            terms["absent"] = (empty * (1 - present)).mean()
        terms["iou"] = ((step.ious.float() - iou).abs().mean(dim=1) * present).mean()
        terms["presence"] = F.binary_cross_entropy_with_logits(
            step.presence_logits[:, 0].float(), present
        )
        return terms
