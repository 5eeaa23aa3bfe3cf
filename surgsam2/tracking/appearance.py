"""The appearance of an object: what tells it from its surroundings in a frame.

An appearance is Fisher's linear discriminant (The Use of Multiple Measurements in Taxonomic
Problems, 1936) between the image features of an object and those of the rest of its frame. It is a
linear function of a position's features, 1 for the mean of the object and 0 for the mean of the
rest. Features that vary within both count less than those that differ between them, so that values
near 1 elsewhere, or in another frame, say that something looks like the object.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from surgsam2.model.frame_data import ImageFeatures

_SHRINKAGE = 1.0
"""Weight of equal variances in the covariance of the features, relative to their mean variance."""
_SMALLEST = 1e-6
"""Smallest share of a frame that a mask is taken to cover, so that nothing is divided by 0."""


def appearances(features: ImageFeatures, logits: torch.Tensor) -> torch.Tensor:
    """Learn how B objects look in a frame.

    Args:
        features: of the frame.
        logits: (B, 1, s, s) mask logits; a pixel counts by its probability.

    Returns:
        (B, C + 1) float32: the factors of the C features and the constant, all 0 for an empty mask.
    """
    shares = _shares(features, logits)
    tokens = features.tokens[:, 0].float()
    centre = tokens.mean(dim=0)
    tokens = tokens - centre  # products of large means would round what differs
    with torch.autocast(tokens.device.type, enabled=False):
        inside, outside = _mean(tokens, shares), _mean(tokens, 1 - shares)
        # covariance within object and rest: that of the whole frame less that between the two
        between = inside - outside
        spread = (shares.mean(dim=1) * (1 - shares).mean(dim=1))[:, None, None]
        within = tokens.T @ tokens / len(tokens) - spread * between[:, :, None] * between[:, None]
        variance = within.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
        within = within + _SHRINKAGE * variance * torch.eye(within.shape[1]).to(within)
        factors, _ = torch.linalg.solve_ex(within, between)
        length = (factors * between).sum(dim=1, keepdim=True)
        factors = factors / length.clamp_min(_SMALLEST)
        constant = -(factors * (outside + centre)).sum(dim=1)
        found = torch.cat([factors, constant[:, None]], dim=1)
    return found.where(shares.mean(dim=1, keepdim=True) > _SMALLEST, 0)


def similarity(
    features: ImageFeatures, logits: torch.Tensor, known: Sequence[list[torch.Tensor]]
) -> torch.Tensor:
    """Tell how much what lies under B masks looks like the objects.

    Args:
        features: of the frame.
        logits: (B, 1, s, s) mask logits; a pixel counts by its probability.
        known: for each object its appearances in other frames, at least one of (C + 1,).

    Returns:
        (B,) float32 mean over the mask, by the appearance that it agrees with most: about 1 for
        what looks like the object, about 0 for what looks like its surroundings, and for an empty
        mask.
    """
    shares = _shares(features, logits)
    tokens = features.tokens[:, 0].float()
    with torch.autocast(tokens.device.type, enabled=False):
        means = _mean(tokens, shares)
        best = [
            _values(torch.stack(own), mean[None]).amax()
            for own, mean in zip(known, means, strict=True)
        ]
        return torch.stack(best).where(shares.mean(dim=1) > _SMALLEST, 0)


def similarity_maps(features: ImageFeatures, known: Sequence[list[torch.Tensor]]) -> torch.Tensor:
    """Compare every position of a frame with B objects.

    Args:
        features: of the frame.
        known: as for `similarity`.

    Returns:
        (B, h, w) float32: for each position the largest value of an object's appearances.
    """
    tokens = features.tokens[:, 0].float()
    with torch.autocast(tokens.device.type, enabled=False):
        values = [_values(torch.stack(own), tokens).amax(dim=0) for own in known]
    return torch.stack(values).unflatten(1, features.size)


def _values(appearances: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return (K, P) values of K appearances for (P, C) features."""
    return appearances[:, :-1] @ tokens.T + appearances[:, -1:]


def _shares(features: ImageFeatures, logits: torch.Tensor) -> torch.Tensor:
    """Return the share of each position that B masks cover, (B, P)."""
    return F.interpolate(logits.float().sigmoid(), size=features.size, mode="area").flatten(1)


def _mean(tokens: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Return the (B, C) means of (P, C) features, weighted by (B, P) shares."""
    return shares @ tokens / shares.sum(dim=1, keepdim=True).clamp_min(_SMALLEST)
