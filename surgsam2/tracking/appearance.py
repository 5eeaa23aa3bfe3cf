"""The appearance of an object in a frame, as one vector that frames are compared by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from surgsam2.model.frame_data import ImageFeatures


def appearances(features: ImageFeatures, logits: torch.Tensor) -> torch.Tensor:
    """Describe how B objects look in a frame.

    An appearance is the mean of the image encoder's features of the lowest resolution over
    the object, minus their mean over the frame, at length 1. Without the subtraction what
    all parts of a frame have in common would make everything alike.

    Args:
        features: of the frame.
        logits: (B, 1, s, s) mask logits; a pixel counts by its probability.

    Returns:
        (B, C) float32 vectors of length 1, and of length 0 for empty masks.
    """
    tokens = features.tokens[:, 0].float()  # (P, C)
    weights = F.interpolate(logits.float().sigmoid(), size=features.size, mode="area").flatten(1)
    with torch.autocast(tokens.device.type, enabled=False):
        sums = weights @ (tokens - tokens.mean(dim=0))
    return F.normalize(sums, dim=1)


def similarities(looks: torch.Tensor, known: Sequence[list[torch.Tensor]]) -> torch.Tensor:
    """Compare objects with their known appearances.

    Args:
        looks: (B, C) appearances of B objects in a frame.
        known: for each object its known appearances, at least one of (C,).

    Returns:
        (B,) cosine, from -1 to 1, with the most similar known appearance of the object.
    """
    with torch.autocast(looks.device.type, enabled=False):
        return torch.stack(
            [(torch.stack(own) @ look).amax() for own, look in zip(known, looks, strict=True)]
        )
