"""Smoothing of a map along the edges of a picture: the guided filter.

Around each pixel the filtered map is a linear function of the picture's colours, so it has an edge
where the picture has one and is smooth elsewhere (He, Sun and Tang, Guided Image Filtering, ECCV
2010).
"""

from __future__ import annotations

import torch
from torch import Tensor

from surgsam2.model.squares import square_mean


def guided_filter(picture: Tensor, values: Tensor, radius: int, smallest: float) -> Tensor:
    """Smooth a map along a picture's edges.

    Args:
        picture: (1, C, H, W) float32.
        values: (1, 1, H, W) float32, what is smoothed.
        radius: of the square around each pixel in which the map is a linear function of the
            colours, in pixels.
        smallest: variance of a colour from which on a square has an edge.

    Returns:
        (1, 1, H, W) float32.
    """
    mean, level = square_mean(picture, radius), square_mean(values, radius)
    products = (picture[:, :, None] * picture[:, None]).flatten(1, 2)
    covariance = square_mean(products, radius) - (mean[:, :, None] * mean[:, None]).flatten(1, 2)
    together = square_mean(picture * values, radius) - mean * level
    channels = picture.shape[1]
    matrices = covariance[0].unflatten(0, (channels, channels)).permute(2, 3, 0, 1)
    matrices = matrices + smallest * torch.eye(channels, device=picture.device)
    slopes = torch.linalg.solve(matrices, together[0].permute(1, 2, 0)).permute(2, 0, 1)[None]
    offset = level - (slopes * mean).sum(dim=1, keepdim=True)
    slopes, offset = square_mean(slopes, radius), square_mean(offset, radius)
    return (slopes * picture).sum(dim=1, keepdim=True) + offset
