"""Smoothing of a map along the edges of a picture: the guided filter.

Around each pixel the filtered map is a linear function of the picture's colours, so it has an edge
where the picture has one and is smooth elsewhere (He, Sun and Tang, Guided Image Filtering, ECCV
2010).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
    mean, level = box_mean(picture, radius), box_mean(values, radius)
    products = (picture[:, :, None] * picture[:, None]).flatten(1, 2)
    covariance = box_mean(products, radius) - (mean[:, :, None] * mean[:, None]).flatten(1, 2)
    together = box_mean(picture * values, radius) - mean * level
    channels = picture.shape[1]
    matrices = covariance[0].unflatten(0, (channels, channels)).permute(2, 3, 0, 1)
    matrices = matrices + smallest * torch.eye(channels, device=picture.device)
    slopes = torch.linalg.solve(matrices, together[0].permute(1, 2, 0)).permute(2, 0, 1)[None]
    offset = level - (slopes * mean).sum(dim=1, keepdim=True)
    slopes, offset = box_mean(slopes, radius), box_mean(offset, radius)
    return (slopes * picture).sum(dim=1, keepdim=True) + offset


def box_mean(maps: Tensor, radius: int) -> Tensor:
    """Average (1, C, H, W) maps over squares of a radius in pixels; edges are repeated."""
    padded = F.pad(maps, (radius, radius, radius, radius), mode="replicate")
    side, channels = 2 * radius + 1, maps.shape[1]
    across = maps.new_full((channels, 1, 1, side), 1 / side)
    rows = F.conv2d(padded, across, groups=channels)
    return F.conv2d(rows, across.transpose(2, 3), groups=channels)
