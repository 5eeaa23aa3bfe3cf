"""A first mask from a box, made exact by what the frame itself shows.

What lies outside of a box is known not to be the object. That, and the mask that the decoder
guessed inside, teach a linear classifier of the frame's own features in closed form (weighted
ridge regression); its verdict on every pixel inside the box is the mask. A decoder that has seen
little of the kind guesses in patches, and the classifier fills and cuts along the tissue's edges,
as GrabCut does with colours (Rother et al., SIGGRAPH 2004).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from surgsam2.model.frame_data import ImageFeatures

_RIDGE = 1e-2
"""Weight of the squared coefficients, for features of deviation 1 and weights that add up to 1
for each of the two classes."""
_GAIN = 4.0
"""Logit of a pixel whose regression value is 1."""
_OUTSIDE = -10.0
"""Logit outside of the box."""
_NEAR = 2.0
"""Half the side in pixels of the square that a click speaks for."""
_CLICK = 0.1
"""Weight of a click, where all pixels of a class have 1 together."""
_SMALL = 1e-4
"""Added to deviations, so that a constant feature is not divided by 0."""


def refine_in_box(
    features: ImageFeatures, logits: Tensor, points: Tensor, labels: Tensor
) -> Tensor:
    """Return the mask of one object, refined inside its box.

    Args:
        features: of the frame.
        logits: (1, 1, s, s) float32 mask logits of the decoder.
        points: (N, 2) x and y in pixels of the mask: the top left and the bottom right corner
            of the box, then clicks.
        labels: (N,) labels of the points; 1 is a click on the object, 0 one outside of it.

    Returns:
        (1, 1, s, s) float32 mask logits; the decoder's own with what lies outside of the box
        removed, where all of them or none inside are positive.
    """
    size = logits.shape[-2:]
    inside = _inside(points[:2].flatten(), size)
    guess = torch.tanh(logits[0, 0] / 2)
    with torch.autocast(logits.device.type, enabled=False):
        target = torch.where(inside, guess, -1.0).flatten()
        positive = target > 0
        if not positive.any() or bool((guess[inside] > 0).all()):
            return torch.where(inside, logits, logits.clamp(max=_OUTSIDE))
        weight = target.abs()
        weight = weight / torch.where(positive, weight[positive].sum(), weight[~positive].sum())
        for point, label in zip(points[2:], labels[2:], strict=True):
            near = _inside(torch.cat([point - _NEAR, point + _NEAR]), size).flatten()
            target = torch.where(near, 2.0 * label - 1, target)
            weight = torch.where(near, _CLICK / near.sum(), weight)
        inputs = _inputs(features, size)
        weighted = inputs * weight
        ridge = _RIDGE * torch.eye(len(inputs), device=inputs.device)
        coefficients = torch.linalg.solve(weighted @ inputs.T + ridge, weighted @ target.sign())
        values = (_GAIN * (coefficients @ inputs)).view_as(logits)
        padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
        values = F.avg_pool2d(padded, 3, stride=1)
        return torch.where(inside, values, _OUTSIDE)


def _inside(box: Tensor, size: torch.Size) -> Tensor:
    """Return which of (h, w) pixels have their centres in a box."""
    y = torch.arange(size[0], device=box.device)[:, None] + 0.5
    x = torch.arange(size[1], device=box.device) + 0.5
    return (x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3])


def _inputs(features: ImageFeatures, size: torch.Size) -> Tensor:
    """Return the classifier's inputs for each of (h, w) pixels, (N, h * w), the last constant."""
    levels = [*features.high_res, features.map_for(1)]
    if features.picture is not None:
        grey = F.interpolate(features.picture, size=size, mode="area")
        levels += [grey, grey.square()]
    maps = [F.interpolate(level.float(), size=size, mode="bilinear") for level in levels]
    rows = torch.cat(maps, dim=1)[0].flatten(1)
    deviation, mean = torch.std_mean(rows, dim=1, keepdim=True)
    rows = (rows - mean) / (deviation + _SMALL)
    return torch.cat([rows, torch.ones_like(rows[:1])])
