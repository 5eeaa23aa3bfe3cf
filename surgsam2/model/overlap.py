"""How much two masks overlap, on whichever device they are."""

from __future__ import annotations

from torch import Tensor


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU of (..., H, W) masks, which are where the values are above 0.

    Returns:
        (...) float32; 0 where both masks are empty.
    """
    first, second = a > 0, b > 0
    both = (first & second).sum(dim=(-2, -1))
    either = (first | second).sum(dim=(-2, -1))
    return both / either.clamp(min=1)
