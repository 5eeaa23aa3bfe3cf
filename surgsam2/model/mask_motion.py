"""Mask motion: the last frame's mask, carried to a frame by the motion between the two.

A memory attends by what things look like, on a grid of a sixteenth of the input. Between two
frames of a video at its full rate little changes but the place of things, so their motion tells
finer where a mask's edge has gone. It is estimated on small pictures of both frames, from coarse
to fine, by the least squares of Lucas and Kanade (An Iterative Image Registration Technique with
an Application to Stereo Vision, IJCAI 1981). It counts where the carried picture agrees with the
frame, and not at all between frames that differ too much, as those of a cut or of a video of one
frame a second.

The errors of many such motions add up, so that a mask would drift. Therefore the *displacement*
from the object's prompted frame, which is all motions since, one after the other, is kept, too,
and refined at every frame against the prompted frame's own picture. Where both agree, the mask is
corrected by how far the edge of the prompted mask moves when its displacement is refined. What the
mask decoder has changed since then stays. Where the two do not agree, nothing corrects the errors
of motion, so it counts for less. Light changes over so many frames, so these two pictures are
compared without their slow gradients.

Nothing of it is learned.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgsam2.model.squares import square_max, square_mean

_PARTS = 4
"""Number of parts per side of a memory's position that each have a mask logit: as many as the
mask decoder tells apart."""
_PIXELS = 8
"""Number of pixels per side of a memory's position in the small picture."""
_STEPS = (2, 2, 1, 1)
"""Numbers of least-squares steps from the coarsest resolution to the small picture's own; each
resolution is twice the one before."""
_WINDOW = 3
"""Radius in pixels of the square over which a motion is the same."""
_DAMPING = 0.01
"""Weight of no motion, relative to that of a mean pixel's gradients."""
_TINY = 1e-6
"""Damping of pictures without any gradient, so that nothing is divided by 0."""
_LONGEST_STEP = 2.0
"""Largest change of a motion by one step, in pixels of its resolution."""
_CERTAIN = 10.0
"""Largest absolute logit that is carried or combined."""
_AGREES, _DISAGREES = 0.1, 0.2
"""Differences of the pictures, in deviations of a colour, up to which a pixel's motion counts
fully and from which on it does not count."""
_STILL = 0.1
"""Difference up to which a pixel is counted for the frame as a whole."""
_CUT, _VIDEO = 0.75, 0.85
"""Shares of such pixels up to which motion does not count and from which on it counts fully."""
_EDGE = 1
"""Radius in mask pixels of the smallest square in which the decoder can contradict motion."""
_UNANCHORED = 0.5
"""Factor on the certainty of a motion that the prompted frame's picture does not confirm: the mask
decoder then corrects the errors that add up."""
_LIGHT = 4, 2
"""Side in pixels of the squares whose means are a picture's light, and the radius over which these
are averaged, in squares."""
_NOWHERE = 1024.0
"""Displacement, in mask pixels, of a frame that motion does not lead to: it leaves the picture."""


class MaskMotion(nn.Module):
    """Carries the masks of B objects from their newest memories to a frame.

    Args:
        weight: share of a carried mask in the frame's, where the motion is certain.
        contradicted: the same where the mask decoder says otherwise of a whole square, and not
            only of a seam along the edge.
    """

    displacement_channels = 2 * _PARTS**2
    """Number of channels of a displacement: x and y of each part, in mask pixels."""
    memory_channels = _PIXELS**2 + _PARTS**2 + displacement_channels
    """Number of channels that a memory has for this, beside those of the memory encoder."""
    carried_channels = 2 * _PARTS**2 + displacement_channels
    """Number of channels of `forward`'s output."""

    def __init__(self, weight: float, contradicted: float) -> None:
        super().__init__()
        self.weight = weight
        self.contradicted = contradicted

    @staticmethod
    def picture(images: Tensor) -> Tensor:
        """Return small grey pictures, (N, 1, S/2, S/2), of (N, 3, S, S) normalised images."""
        return F.avg_pool2d(images.float().mean(dim=1, keepdim=True), 2)

    @staticmethod
    def memory(picture: Tensor, logits: Tensor, carried: Tensor | None = None) -> Tensor:
        """Return what a memory holds of a frame: (B, 112, h, w) float32.

        Args:
            picture: (1, 1, 8h, 8w) or (B, 1, 8h, 8w), the small picture.
            logits: (B, 1, 4h, 4w) mask logits.
            carried: (B, 64, h, w), from `forward` for this frame. None for a frame that motion
                begins at, which is a prompted one.
        """
        pixels = F.pixel_unshuffle(picture, _PIXELS).expand(logits.shape[0], -1, -1, -1)
        parts = F.pixel_unshuffle(logits.float().clamp(-_CERTAIN, _CERTAIN), _PARTS)
        if carried is None:
            displacement = torch.zeros_like(torch.cat([parts, parts], dim=1))
        else:
            displacement = carried[:, 2 * _PARTS**2 :].float()
        return torch.cat([pixels, parts, displacement], dim=1)

    @staticmethod
    def nothing(logits: Tensor) -> Tensor:
        """Return what `forward` would of a frame without motion, (B, 64, h, w).

        Args:
            logits: (B, 1, 4h, 4w) mask logits, for their number and size.
        """
        parts = F.pixel_unshuffle(torch.zeros_like(logits), _PARTS)
        return torch.cat([parts, parts, *[parts + _NOWHERE] * 2], dim=1)

    @staticmethod
    def certainty(carried: Tensor) -> Tensor:
        """Return the certainty of each part, (B, 16, h, w) float32, that `forward` found."""
        return carried[:, : _PARTS**2].float()

    def forward(self, picture: Tensor, memory: Tensor, anchor: Tensor) -> Tensor:
        """Return how far the motion is certain, and the mask logits that it carries.

        Args:
            picture: (1, 1, 8h, 8w) or (B, 1, 8h, 8w), the frame's small picture.
            memory: (B, 112, h, w), of any float dtype, from `memory`, of the newest frame.
            anchor: the same of the prompted frame that the displacement in `memory` leads to.

        Returns:
            (B, 64, h, w) float32: the certainty of each part, from 0 to 1, before the logits and
            the displacement.
        """
        with torch.autocast(memory.device.type, enabled=False):
            before, logits, known = _of_memory(memory)
            first, prompted, _ = _of_memory(anchor)
            one = picture.shape[0] == 1
            if one and _all_equal(before):  # objects of one frame
                before = before[:1]
                if _all_equal(first) and _all_equal(known):
                    first, known = first[:1], known[:1]
            motion, certain = _certain_motion(before, picture.expand_as(before))
            carried, _ = _moved(logits, motion.expand(logits.shape[0], -1, -1, -1))
            seen = logits.amax(dim=(1, 2, 3), keepdim=True) > 0
            composed = motion + _moved(known, motion.expand_as(known))[0]
            refined, agrees = _refined(composed, first, picture.expand_as(first))
            carried = _anchored(carried, prompted, composed, refined, agrees)
            # what no motion leads to is not compared with the prompted frame ever again
            followed = certain.amax(dim=(1, 2, 3), keepdim=True) > 0
            refined = torch.where(followed, refined, _NOWHERE).expand(logits.shape[0], -1, -1, -1)
            certain = certain * seen * (_UNANCHORED + (1 - _UNANCHORED) * agrees)
            return F.pixel_unshuffle(torch.cat([certain, carried, refined], dim=1), _PARTS)

    def where_certain(self, logits: Tensor, carried: Tensor) -> Tensor:
        """Replace (B, 1, 4h, 4w) logits by those that motion carried as far as it is certain.

        Args:
            logits: of something else.
            carried: (B, 64, h, w), from `forward`.
        """
        certain, mask = _certain_mask(carried)
        return torch.lerp(logits, mask, certain)

    def combine(self, logits: Tensor, carried: Tensor) -> Tensor:
        """Combine the mask decoder's (B, 1, 4h, 4w) logits with those that motion carried.

        Args:
            logits: of the mask decoder.
            carried: (B, 64, h, w), from `forward`.
        """
        certain, mask = _certain_mask(carried)
        logits = logits.clamp(-_CERTAIN, _CERTAIN)
        otherwise = ((logits > 0) != (mask > 0)).float()
        contradicted = _opened(otherwise)
        weight = self.weight + (self.contradicted - self.weight) * contradicted
        return torch.lerp(logits, mask, weight * certain)


def _certain_mask(carried: Tensor) -> tuple[Tensor, Tensor]:
    """Return certainty and logits of each mask pixel, (B, 1, 4h, 4w) each, that were carried."""
    certain, mask, _ = F.pixel_shuffle(carried.float(), _PARTS).split([1, 1, 2], dim=1)
    return certain, mask


def _all_equal(maps: Tensor) -> bool:
    """Tell whether the rows of a batch are the same; only asked where the answer is at hand."""
    if maps.device.type != "cpu" or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return bool((maps == maps[:1]).all())


def _of_memory(memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the picture, the mask's logits and the displacement that a memory holds."""
    sizes = (_PIXELS**2, _PARTS**2, MaskMotion.displacement_channels)
    pixels, parts, displacement = memory.float().split(sizes, dim=1)
    return (
        F.pixel_shuffle(pixels, _PIXELS),
        F.pixel_shuffle(parts, _PARTS),
        F.pixel_shuffle(displacement, _PARTS),
    )


def _certain_motion(before: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
    """Return the motion of a mask's pixels, (B, 2, H/2, W/2), and how certain it is, from 0 to 1.

    Args:
        before: (B, 1, H, W) earlier small pictures.
        now: (B, 1, H, W) small pictures.
    """
    motion = F.avg_pool2d(motion_between(before, now), 2) / 2
    off, agrees = _agreement(F.avg_pool2d(before, 2), F.avg_pool2d(now, 2), motion)
    still = (off < _STILL).float().mean(dim=(1, 2, 3), keepdim=True)
    return motion, agrees * ((still - _CUT) / (_VIDEO - _CUT)).clamp(0, 1)


def _agreement(before: Tensor, now: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far pictures differ after a motion, and how far they agree, from 0 to 1."""
    moved, inside = _moved(before, motion)
    off = square_mean((moved - now).abs(), 1)
    return off, ((_DISAGREES - off) / (_DISAGREES - _AGREES)).clamp(0, 1) * inside


def _refined(composed: Tensor, first: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
    """Refine a displacement by two steps of least squares, where the pictures then agree.

    Args:
        composed: (B, 2, H/2, W/2) displacement of a mask's pixels.
        first: (B, 1, H, W) small pictures of the prompted frames.
        now: (B, 1, H, W) small pictures of the frame.

    Returns:
        The refined displacement, and how far the pictures agree there, (B, 1, H/2, W/2).
    """
    first, now = _without_light(first), _without_light(now)
    half_first, half_now = F.avg_pool2d(first, 2), F.avg_pool2d(now, 2)
    coarse = composed + _step(_moved(half_first, composed)[0], half_now)
    fine = 2 * F.interpolate(square_mean(coarse, 1), size=now.shape[2:], mode="bilinear")
    fine = square_mean(fine + _step(_moved(first, fine)[0], now), 1)
    refined = F.avg_pool2d(fine, 2) / 2
    _, agrees = _agreement(half_first, half_now, refined)
    return torch.lerp(composed, refined, agrees), agrees


def _anchored(
    carried: Tensor, prompted: Tensor, composed: Tensor, refined: Tensor, agrees: Tensor
) -> Tensor:
    """Correct carried masks by the masks of prompted frames, where the pictures agree.

    Args:
        carried: (B, 1, h, w) logits that came from the frame before.
        prompted: (B, 1, h, w) logits of the prompted frames.
        composed: (B, 2, h, w), or (1, 2, h, w) for all objects, displacement as it was carried.
        refined: the same, refined.
        agrees: (B, 1, h, w) or (1, 1, h, w), from 0 to 1.
    """
    count = carried.shape[0]
    drifted, _ = _moved(prompted, composed.expand(count, -1, -1, -1))
    exact, _ = _moved(prompted, refined.expand(count, -1, -1, -1))
    # the decoder changes whole squares; a seam is an error of the motion
    added, removed = _opened((carried - drifted).relu()), _opened((drifted - carried).relu())
    corrected = (exact + added - removed).clamp(-_CERTAIN, _CERTAIN)
    return torch.lerp(carried, corrected, agrees)


def _without_light(pictures: Tensor) -> Tensor:
    """Return (B, 1, H, W) pictures less their slow gradients."""
    side, radius = _LIGHT
    light = square_mean(F.avg_pool2d(pictures, side), radius)
    return pictures - F.interpolate(light, size=pictures.shape[2:], mode="bilinear")


def motion_between(before: Tensor, now: Tensor) -> Tensor:
    """Estimate where each pixel of a picture was in an earlier one.

    Args:
        before: (B, C, H, W) float32 earlier pictures; H and W are multiples of 8.
        now: (B, C, H, W) pictures.

    Returns:
        (B, 2, H, W) x and y in pixels, to be added to a pixel's place.
    """
    levels = [(before, now)]
    while len(levels) < len(_STEPS):
        levels.append((F.avg_pool2d(levels[-1][0], 2), F.avg_pool2d(levels[-1][1], 2)))
    motion = torch.zeros_like(levels[-1][0][:, :1]).repeat(1, 2, 1, 1)
    for (earlier, later), steps in zip(reversed(levels), _STEPS, strict=True):
        if motion.shape[2:] != later.shape[2:]:
            motion = 2 * F.interpolate(motion, size=later.shape[2:], mode="bilinear")
        for _ in range(steps):
            motion = square_mean(motion + _step(_moved(earlier, motion)[0], later), 1)
    return motion


def _step(moved: Tensor, now: Tensor) -> Tensor:
    """Return the change of the motion that makes a moved picture most like another."""
    wide = F.pad(moved, (1, 1, 1, 1), mode="replicate")
    x = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
    y = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2
    rest = now - moved
    products = [(a * b).sum(dim=1) for a, b in ((x, x), (x, y), (y, y), (x, rest), (y, rest))]
    xx, xy, yy, xr, yr = square_mean(torch.stack(products, dim=1), _WINDOW).unbind(dim=1)
    damping = _DAMPING * (xx + yy).mean(dim=(1, 2), keepdim=True) + _TINY
    xx, yy = xx + damping, yy + damping
    change = torch.stack([yy * xr - xy * yr, xx * yr - xy * xr], dim=1)
    change = change / (xx * yy - xy * xy)[:, None]
    return change.clamp(-_LONGEST_STEP, _LONGEST_STEP)


def _moved(maps: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Fetch each pixel of (B, C, H, W) maps from where it was, and tell what lay inside."""
    height, width = maps.shape[-2:]
    x = torch.arange(width, device=maps.device, dtype=maps.dtype) + motion[:, 0]
    y = torch.arange(height, device=maps.device, dtype=maps.dtype)[:, None] + motion[:, 1]
    places = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    inside = (places.abs() < 1).all(dim=-1)[:, None]
    return F.grid_sample(maps, places, padding_mode="border", align_corners=False), inside


def _opened(maps: Tensor) -> Tensor:
    """Lower (B, C, H, W) maps to what whole squares of them reach (morphological opening)."""
    return square_max(-square_max(-maps, _EDGE), _EDGE)
