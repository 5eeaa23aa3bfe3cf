"""What came out of the tracker for one frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class FrameResult:
    """Masks and the model's own estimates for every object of one frame.

    The N objects are in the order of the prompt set (`segment_video`), or in which they
    were first prompted (`Tracker`). N may be 0: no object has been prompted yet, or all
    were removed.
    """

    frame_index: int
    """Index of the frame in its video, from 0."""
    object_ids: tuple[int, ...]
    """N object ids (1 to 65535)."""
    masks: np.ndarray
    """(N, H, W) bool at the video's own resolution."""
    iou_scores: np.ndarray
    """(N,) float32 in 0..1: the IoU with the true mask that the model predicts for its mask."""
    presence: np.ndarray
    """(N,) float32 in 0..1: the probability that the object is visible in the frame."""
    milliseconds: float = 0.0
    """Wall-clock time the tracker spent on this frame (all objects together)."""
    compute_logits: Callable[[], np.ndarray] | None = field(default=None, repr=False)
    """Computes `logits`; set by the tracker."""

    def __post_init__(self) -> None:
        n = len(self.object_ids)
        if self.masks.ndim != 3 or self.masks.dtype != np.bool_ or len(self.masks) != n:
            raise ValueError(
                f"masks must be ({n}, H, W) bool for {n} object ids, "
                f"got {self.masks.shape} {self.masks.dtype}"
            )
        for name in ("iou_scores", "presence"):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name} must have shape ({n},), got {getattr(self, name).shape}")

    @cached_property
    def logits(self) -> np.ndarray:
        """(N, H, W) float32 mask logits at the video's resolution; `> 0` is the object.

        Computed when first asked for. They are the network's own, each object for
        itself: before overlaps between objects are resolved in `masks`.
        """
        if self.compute_logits is None:
            raise ValueError("this result was made without logits")
        return self.compute_logits()

    def mask(self, object_id: int) -> np.ndarray:
        """The (H, W) bool mask of one object; `KeyError` when it is not in this result."""
        try:
            return self.masks[self.object_ids.index(object_id)]
        except ValueError:
            raise KeyError(f"object {object_id} is not among {self.object_ids}") from None

    def __repr__(self) -> str:
        n, h, w = self.masks.shape
        return (
            f"FrameResult(frame_index={self.frame_index}, object_ids={self.object_ids}, "
            f"masks=({n}, {h}, {w}) bool)"
        )
