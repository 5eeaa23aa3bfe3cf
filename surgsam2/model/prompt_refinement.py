"""Masks from a box or from clicks, and corrections by clicks, made exact by what the frame shows.

The decoder's mask teaches a linear classifier of the frame's pixels in closed form (weighted ridge
regression), together with what is known: the clicks, and that nothing outside of a box is the
object. Its values, smoothed along the picture's edges, are a better mask, from which a second
classifier learns, as in GrabCut (Rother et al., SIGGRAPH 2004). A decoder that has seen few such
pictures guesses in patches; the classifier fills gaps and cuts along the tissue's edges.

A correction starts from the mask that is there, and changes it only where a click is.

A colour counts for more than a feature of the network, because there are so many features that the
classifier would learn the decoder's errors by heart.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from surgsam2.model.frame_data import ImageFeatures
from surgsam2.model.guided_filter import guided_filter

TOP_LEFT = 2
"""Label of the top left corner of a box, which is followed by the bottom right one."""
_ROUNDS = 2
"""Number of classifiers, each of which learns from the mask of the one before."""
_RIDGE = 1e-2
"""Weight of the squared coefficients, for colours of deviation 1 and weights that add up to 1
for each of the two classes."""
_FEATURE = 0.3
"""Deviation of a feature of the network, where that of a colour is 1."""
_GAIN = 4.0
"""Logit of a pixel whose regression value is 1."""
_OWN_IN_BOX, _OWN, _OWN_OF_CORRECTION = 0.4, 1.5, 0.4
"""Share of the decoder's own logits that is added, with a box, without one, where only the decoder
tells an object from what looks like it beside it, and for the correction of a mask."""
_CERTAIN = 10.0
"""Largest absolute logit of the decoder that counts; outside of the box, before `_DECIDED`."""
_DECIDED = 6.0
"""Factor on the logits of a mask from a box. It stands, because the user was shown it; mask motion
would give up a hesitant one at the first contradictions of the decoder. Masks from clicks alone are
less to be relied on, and are given up more easily."""
_FILTER_RADIUS, _FILTER_VARIANCE = 4, 0.003
"""Radius in pixels of the guided filter, and the variance of a normalised colour that it takes for
an edge."""
_TAUGHT = 2.0
"""Half the side in pixels of the square for which a click teaches."""
_CLICK = 0.1
"""Weight of a click, where all pixels of a class have 1 together."""
_CLICKED = 1.0
"""Smallest absolute logit of the pixels around a click."""
_OBEYED = 1.25
"""Half the side in pixels of the square around a click that gets the click's label, whatever the
classifier says. It holds all pixels from which a larger mask is interpolated at the click, and a
margin for rounding."""
_SMALL = 1e-4
"""Added to deviations, so that a constant feature is not divided by 0."""


def refine_mask(
    features: ImageFeatures, picture: Tensor, logits: Tensor, points: Tensor, labels: Tensor
) -> Tensor:
    """Refine the mask of one object.

    Args:
        features: of the frame.
        picture: (1, 3, S, S) float32, the frame as the network sees it.
        logits: (1, 1, s, s) float32 mask logits of the decoder.
        points: (N, 2) x and y in pixels of the mask: the top left and the bottom right corner
            of the box, if there is one, then clicks.
        labels: (N,) labels of the points; 1 is a click on the object, 0 one outside of it.

    Returns:
        (1, 1, s, s) float32 mask logits. Nothing outside of the box is positive; without a box
        the mask is what is connected to clicks on the object. Clicks inside the box get their
        labels. If all or none of the decoder's logits inside the box are positive, those inside
        are returned as they are.
    """
    size = logits.shape[-2:]
    boxed = int(labels[0]) == TOP_LEFT
    inside = torch.ones(size, dtype=torch.bool, device=logits.device)
    if boxed:
        inside = _inside(points[:2].flatten(), size)
        points, labels = points[2:], labels[2:]
    with torch.autocast(logits.device.type, enabled=False):
        colours = F.interpolate(picture.float(), size=size, mode="area")
        inputs = _inputs(features, colours)
        own = (_OWN_IN_BOX if boxed else _OWN) * logits.clamp(-_CERTAIN, _CERTAIN)
        refined = logits
        clicked = _around(points, _OBEYED, size)
        for _ in range(_ROUNDS):
            if not (0 < int((refined[0, 0] > 0)[inside].sum()) < int(inside.sum())):
                return torch.where(inside, refined, refined.clamp(max=-_CERTAIN))
            guess = torch.where(inside, torch.tanh(refined[0, 0] / 2), -1.0)
            values = own + _GAIN * _class_values(inputs, guess, points, labels)
            values = _smooth_and_obeying(values, colours, clicked, labels)
            refined = torch.where(inside, values, -_CERTAIN)
            if not boxed:
                stays = _connected(refined[0, 0] > 0, clicked[labels == 1])
                refined = torch.where(stays, refined, refined.clamp(max=-_CLICKED))
        return _DECIDED * refined if boxed else refined


def correct_mask(
    features: ImageFeatures,
    picture: Tensor,
    logits: Tensor,
    previous: Tensor,
    points: Tensor,
    labels: Tensor,
) -> Tensor:
    """Correct the mask of one object by clicks.

    Args:
        features: of the frame.
        picture: (1, 3, S, S) float32, the frame as the network sees it.
        logits: (1, 1, s, s) float32 mask logits that the decoder finds for the clicks.
        previous: (1, 1, s, s) float32 logits of the mask to correct.
        points: (N, 2) x and y of the clicks in pixels of the mask.
        labels: (N,) labels of the clicks; 1 is a click on the object, 0 one outside of it.

    Returns:
        (1, 1, s, s) float32 mask logits. They are the previous ones but for connected regions that
        a click outside of the object takes away, and those that one on the object adds. If the
        previous mask is empty or everything, the decoder's logits are returned.
    """
    size = logits.shape[-2:]
    mask = previous[0, 0] > 0
    if not 0 < int(mask.sum()) < mask.numel():
        return logits
    with torch.autocast(logits.device.type, enabled=False):
        colours = F.interpolate(picture.float(), size=size, mode="area")
        own = _OWN_OF_CORRECTION * logits.clamp(-_CERTAIN, _CERTAIN)
        guess = torch.tanh(previous[0, 0] / 2)
        values = own + _GAIN * _class_values(_inputs(features, colours), guess, points, labels)
        clicked = _around(points, _OBEYED, size)
        values = _smooth_and_obeying(values, colours, clicked, labels)
        found = values[0, 0] > 0
        taken = _connected(mask & ~found, clicked[labels == 0])
        added = _connected(found & ~mask, clicked[labels == 1])
        return torch.where(taken | added, values, previous)


def _smooth_and_obeying(values: Tensor, colours: Tensor, clicked: Tensor, labels: Tensor) -> Tensor:
    """Smooth logits along the picture's edges, and give those around clicks the clicks' labels.

    Args:
        values: (1, 1, h, w) logits.
        colours: (1, 3, h, w) normalised colours.
        clicked: (P, h, w) bool, the pixels around each click.
        labels: (P,) 1 or 0.
    """
    values = guided_filter(colours, values, _FILTER_RADIUS, _FILTER_VARIANCE)
    for near, label in zip(clicked, labels, strict=True):
        obeyed = values.clamp(min=_CLICKED) if label else values.clamp(max=-_CLICKED)
        values = torch.where(near, obeyed, values)
    return values


def _inside(box: Tensor, size: torch.Size) -> Tensor:
    """Return which of (h, w) pixels have their centres in a box, (h, w) bool.

    Args:
        box: (4,) left, top, right and bottom in pixels.
        size: (h, w).
    """
    y = torch.arange(size[0], device=box.device)[:, None] + 0.5
    x = torch.arange(size[1], device=box.device) + 0.5
    return (x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3])


def _around(points: Tensor, half: float, size: torch.Size) -> Tensor:
    """Return which of (h, w) pixels have their centres in squares around points, (P, h, w) bool.

    Args:
        points: (P, 2) x and y in pixels.
        half: half the side of the squares in pixels.
        size: (h, w).
    """
    squares = [_inside(torch.cat([point - half, point + half]), size) for point in points]
    return torch.stack(squares) if squares else points.new_zeros(0, *size, dtype=torch.bool)


def _inputs(features: ImageFeatures, colours: Tensor) -> Tensor:
    """Return the classifier's inputs for each of (h, w) pixels, (N, h * w); the last is 1.

    Args:
        features: of the frame.
        colours: (1, 3, h, w) normalised colours.
    """
    seen = [colours, colours.square(), colours * colours.roll(1, dims=1)]
    levels = [
        F.interpolate(level.float(), size=colours.shape[-2:], mode="bilinear")
        for level in (*features.high_res, features.map_for(1))
    ]
    rows = torch.cat([_standardised(seen), _FEATURE * _standardised(levels)])
    return torch.cat([rows, torch.ones_like(rows[:1])])


def _standardised(maps: list[Tensor]) -> Tensor:
    """Return (1, C, h, w) maps as rows, (sum of C, h * w), of mean 0 and deviation 1."""
    rows = torch.cat(maps, dim=1)[0].flatten(1)
    deviation, mean = torch.std_mean(rows, dim=1, keepdim=True)
    return (rows - mean) / (deviation + _SMALL)


def _class_values(inputs: Tensor, guess: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """Return the values of a classifier that learns from a guessed mask and from clicks.

    Args:
        inputs: (N, h * w), from `_inputs`.
        guess: (h, w) float32, from -1 for certainly outside to 1 for certainly inside.
        points: (P, 2) x and y of clicks in pixels.
        labels: (P,) 1 or 0.

    Returns:
        (1, 1, h, w), about 1 inside and -1 outside.
    """
    target, weight = guess.flatten().sign(), guess.flatten().abs()
    positive = target > 0
    weight = weight / torch.where(positive, weight[positive].sum(), weight[~positive].sum())
    for near, label in zip(_around(points, _TAUGHT, guess.shape).flatten(1), labels, strict=True):
        target = torch.where(near, 2.0 * label - 1, target)
        weight = torch.where(near, _CLICK / near.sum(), weight)
    weighted = inputs * weight
    ridge = _RIDGE * torch.eye(len(inputs), device=inputs.device)
    coefficients = torch.linalg.solve(weighted @ inputs.T + ridge, weighted @ target)
    return (coefficients @ inputs).view(1, 1, *guess.shape)


def _connected(mask: Tensor, places: Tensor) -> Tensor:
    """Return those regions of a mask, connected by sides or corners of pixels, that meet a place.

    Args:
        mask: (h, w) bool.
        places: (P, h, w) bool.
    """
    _, regions = cv2.connectedComponents(mask.cpu().numpy().view(np.uint8), connectivity=8)
    met = np.unique(regions[places.any(dim=0).cpu().numpy()])
    return torch.from_numpy(np.isin(regions, met[met > 0])).to(mask.device)
