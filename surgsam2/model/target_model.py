"""The target model: a classifier of a frame's own features, learned from the object's own frames.

Between frames that lie a second apart no motion can be told, and memory attention finds an object
by its look without knowing what else looks like it. A linear classifier that was taught by the
object and by all that surrounds it does, as in Robinson et al. (Learning Fast and Robust Target
Models for Video Object Segmentation, CVPR 2020). Here it is learned in closed form, by ridge
regression, so that all that has to be remembered of a frame is sums over its positions, the *normal
equations*. The classifier's values are added to the mask decoder's logits where motion has carried
nothing.

The classifier also tells when to doubt a mask: where the mask decoder expects little of it and the
classifier finds something else, the object is probably out of sight, and what looks most like it
was taken for it.

Nothing of it is trained, and no gradient goes through it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgsam2.model.frame_data import Decoded, ImageFeatures
from surgsam2.model.overlap import mask_iou

_RIDGE = 1e-3
"""Weight of the squared coefficients, where all positions of a frame weigh 1 together."""
_RATE = 0.4
"""Weight of a frame in the running mean of the tracked frames."""
_TRACKED = 0.5
"""Weight of that mean beside the mean of the prompted frames."""
_SMALLEST = 2.0
"""Area up to which a mask is not learned from, in positions of the classifier."""
_CERTAIN = 10.0
"""Largest absolute logit of the mask decoder that values are added to."""
_PARTS = 2
"""Number of positions per side of one of the image encoder's coarsest map, and number of mask
pixels per side of a position."""
_RELATIVE = 0.5
"""Share of a frame's mean that is subtracted from the finer maps."""
_AROUND = 3
"""Number of positions of the coarsest map per side of the surroundings of one."""


class TargetModel(nn.Module):
    """Finds each of B objects by a classifier of the frame's features.

    Args:
        weight: logit that is added where a classifier's value is 1.
        min_iou: predicted IoU up to which a tracked frame is not learned from.
        min_confidence: predicted IoU, times the presence and the IoU of a mask with what the
            classifier finds, below which an object counts as absent.
    """

    value_channels = _PARTS**2
    """Number of channels of `forward`'s output."""

    def __init__(self, weight: float, min_iou: float, min_confidence: float) -> None:
        super().__init__()
        self.weight = weight
        self.min_iou = min_iou
        self.min_confidence = min_confidence

    @torch.no_grad()
    def inputs(self, features: ImageFeatures) -> Tensor:
        """Return the classifiers' inputs, (1, N, 2h, 2w) or in training (B, N, 2h, 2w) float32.

        They are the image encoder's three maps as the mask decoder gets them, brought to the size
        of the middle one; the means of the finer two over a position's surroundings; and a constant
        1. The finer two are taken in part relative to their means over the frame, which change with
        the light.

        Args:
            features: of the frame; in training those of B frames, one for each object.
        """
        with torch.autocast(features.tokens.device.type, enabled=False):
            fine, middle = (level.float() for level in features.high_res)
            coarse = features.map_for(features.tokens.shape[1]).float()
            detail = torch.cat([F.avg_pool2d(fine, _PARTS), middle], dim=1)
            detail = detail - _RELATIVE * detail.mean(dim=(2, 3), keepdim=True)
            around = F.avg_pool2d(detail, _PARTS)
            around = F.avg_pool2d(around, _AROUND, 1, padding=_AROUND // 2, count_include_pad=False)
            smooth = torch.cat([coarse, around], dim=1)
            smooth = F.interpolate(smooth, size=middle.shape[2:], mode="bilinear")
            return torch.cat([detail, smooth, torch.ones_like(middle[:, :1])], dim=1)

    @torch.no_grad()
    def equations(self, inputs: Tensor, logits: Tensor) -> Tensor:
        """Return the normal equations that a frame gives for B objects.

        A position's share inside is the mean of the mask's probabilities there. Inside and outside
        weigh 1/2 each, or less where they are smaller than one position.

        Args:
            inputs: from `inputs`, of the frame.
            logits: (B, 1, 4h, 4w) mask logits of the frame.

        Returns:
            (B, N, N + 1) float32: the products of the N inputs, and those of the inputs with the
            wanted values, which are 1 inside and -1 outside.
        """
        with torch.autocast(logits.device.type, enabled=False):
            inputs = inputs.flatten(2)
            inside = _inside(logits).flatten(2)
            outside = 1 - inside
            weight = (_normalised(inside) + _normalised(outside)) / 2
            weighted = inputs * weight
            wanted = weighted @ (inside - outside).mT
            return torch.cat([weighted @ inputs.mT, wanted], dim=2)

    @torch.no_grad()
    def forward(self, inputs: Tensor, equations: Tensor) -> Tensor:
        """Return the values of the classifiers that the equations of B objects give.

        Args:
            inputs: from `inputs`, of the frame.
            equations: (B, N, N + 1), from `joined`.

        Returns:
            (B, 4, h, w) float32, about 1 inside of an object and -1 outside, for the four parts
            of each position of the coarsest map.
        """
        with torch.autocast(equations.device.type, enabled=False):
            products, wanted = equations[..., :-1], equations[..., -1:]
            ridge = _RIDGE * torch.eye(products.shape[1], device=products.device)
            # cholesky itself would wait for a GPU to tell whether there is a factor
            factor, _ = torch.linalg.cholesky_ex(products + ridge)
            coefficients = torch.cholesky_solve(wanted, factor)
            values = (coefficients.mT @ inputs.flatten(2)).unflatten(2, inputs.shape[2:])
            return F.pixel_unshuffle(values, _PARTS)

    def guess(self, values: Tensor) -> Tensor:
        """Return (B, 1, 4h, 4w) float32 mask logits for (B, 4, h, w) values from `forward`."""
        return (_CERTAIN * _enlarged(values)).clamp(-_CERTAIN, _CERTAIN)

    def combine(self, logits: Tensor, values: Tensor, certain: Tensor) -> Tensor:
        """Add the classifiers' values to the mask decoder's logits.

        Args:
            logits: (B, 1, 4h, 4w), of the mask decoder.
            values: (B, 4, h, w), from `forward`.
            certain: (B,) the largest certainty of each object's motion, from 0 to 1; the values
                count the less, the larger it is.
        """
        weight = self.weight * (1 - certain)[:, None, None, None]
        return logits.clamp(-_CERTAIN, _CERTAIN) + weight * _enlarged(values)

    def doubtful(self, decoded: Decoded, values: Tensor, certain: Tensor) -> Tensor:
        """Tell which of B masks lie on something else than their objects, (B,) bool.

        Args:
            decoded: the objects of a frame, with the masks that are the result.
            values: (B, 4, h, w), from `forward`.
            certain: (B,) as for `combine`; what is carried by motion is not doubted.
        """
        agreement = mask_iou(decoded.low_res, _enlarged(values))[:, 0]
        presence = decoded.presence_logits[:, 0].float().sigmoid()
        confidence = decoded.ious.float() * presence * agreement
        return confidence < self.min_confidence * (1 - certain)

    def rate(self, decoded: Decoded) -> Tensor:
        """Return how much B objects learn from a tracked frame: (B,) float32, 0 for not at all.

        An object learns where it is present, its predicted IoU is above `min_iou`, and its mask
        covers more than a speck.
        """
        learned = decoded.presence_logits[:, 0] > 0
        learned &= decoded.ious > self.min_iou
        learned &= _inside(decoded.low_res).sum(dim=(1, 2, 3)) > _SMALLEST
        return _RATE * learned.float()


def joined(prompted: Sequence[Tensor], first: Tensor, tracked: Tensor | None) -> Tensor:
    """Return the equations of an object from those of all its frames, (..., N, N + 1).

    Args:
        prompted: equations of its prompted frames, at least one of (..., N, N + 1).
        first: those of the prompted frame that was tracked from first.
        tracked: the running mean of its tracked frames, from `followed`; None before there is one.
    """
    return torch.stack(list(prompted)).mean(dim=0).lerp(_begun(first, tracked), _TRACKED)


def followed(first: Tensor, tracked: Tensor | None, new: Tensor, rate: Tensor) -> Tensor:
    """Return the running mean of an object's tracked frames with a new frame, (..., N, N + 1).

    Args:
        first: as for `joined`.
        tracked: the running mean before; None for the first tracked frame.
        new: equations of the frame.
        rate: (...) from `TargetModel.rate`.
    """
    return _begun(first, tracked).lerp(new, rate[..., None, None])


def _begun(first: Tensor, tracked: Tensor | None) -> Tensor:
    """Return the running mean, which begins with the equations of the first prompted frame."""
    return first if tracked is None else tracked


def _inside(logits: Tensor) -> Tensor:
    """Return the share of each position that B masks cover, (B, 1, 2h, 2w)."""
    return F.avg_pool2d(logits.float().sigmoid(), _PARTS)


def _normalised(shares: Tensor) -> Tensor:
    """Return (B, 1, P) shares over their sum, or as they are where that is below one position."""
    return shares / shares.sum(dim=2, keepdim=True).clamp_min(1)


def _enlarged(values: Tensor) -> Tensor:
    """Return values for the pixels of the mask, (B, 1, 4h, 4w)."""
    values = F.pixel_shuffle(values.float(), _PARTS)
    return F.interpolate(values, scale_factor=_PARTS, mode="bilinear")
