"""Whether the frames of a video follow each other closely, or lie far apart.

At a video's full rate the features of two neighbouring frames are nearly the same, position by
position, but for the moment in which a picture goes dark or is cut. Frames of one a second have
little in common. There an object may look unlike itself from one frame to the next, so that how it
looked on its prompted frames, or when it was last reliable, tells little about its mask.
"""

from __future__ import annotations

import torch

from surgsam2.model.frame_data import ImageFeatures

RATE = 0.3
"""Weight of a pair of frames in the running mean, so that a single pair does not decide."""
LEAST = 0.5
"""Mean correlation from which on frames follow each other closely."""
_SHORTEST = 1e-8
"""Smallest length of a vector in a division, so that the correlation with a plain picture is 0."""


def pattern(features: ImageFeatures) -> torch.Tensor:
    """Return what is compared of a frame: its features less their mean, (P, C) of length 1."""
    tokens = features.tokens[:, 0].float()
    tokens = tokens - tokens.mean(dim=0)
    return tokens / tokens.square().sum().sqrt().clamp_min(_SHORTEST)


def next_mean(mean: torch.Tensor | None, correlation: torch.Tensor | None) -> torch.Tensor | None:
    """Return the running mean of the correlations of neighbouring frames' patterns.

    Args:
        mean: of the pairs so far, () float32; None where there was none.
        correlation: of the next pair, () float32; None where one of its frames is not known.
    """
    if mean is None or correlation is None:
        return mean if correlation is None else correlation
    return mean + RATE * (correlation - mean)


def are_close(means: list[torch.Tensor | None], device: torch.device) -> torch.Tensor:
    """Tell for B objects whether the frames they were tracked on follow each other closely.

    Args:
        means: of each object; None counts as far apart.
        device: where the answer is wanted.

    Returns:
        (B,) bool.
    """
    known = [torch.zeros((), device=device) if mean is None else mean for mean in means]
    return torch.stack(known) >= LEAST
