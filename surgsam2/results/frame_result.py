"""The result of one frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.errors import MissingDependencyError

if TYPE_CHECKING:
    from PIL import Image

    from surgsam2.prompts import PromptSet


@dataclass(frozen=True, eq=False)
class FrameResult:
    """Masks and the model's own estimates for every object of one frame.

    The N objects are in the order of the prompt set (`segment_video`), or in the order of their
    first prompts (`Tracker`). N may be 0, if no object has been prompted yet or all were
    removed.
    """

    frame_index: int
    """Index of the frame in its video, from 0."""
    object_ids: tuple[int, ...]
    """Ids of the N objects, 1 to 65535."""
    masks: np.ndarray
    """Masks at the video's own resolution, (N, H, W) bool."""
    iou_scores: np.ndarray
    """The model's predictions of its masks' IoU with the true masks, (N,) float32, 0 to 1."""
    presence: np.ndarray
    """The probabilities that the objects are visible in the frame, (N,) float32, 0 to 1."""
    milliseconds: float = 0.0
    """Wall-clock time the tracker spent on this frame (all objects together)."""
    compute_logits: Callable[[], np.ndarray] | None = field(default=None, repr=False)
    """Computes `logits`; None in a result that was not made by a tracker."""

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
        """Mask logits at the video's resolution, (N, H, W) float32; `> 0` is the object.

        They are computed when first asked for. They are the network's own output for each
        object, before overlaps between objects are resolved in `masks`.
        """
        if self.compute_logits is None:
            raise ValueError("this result was made without logits")
        return self.compute_logits()

    def mask(self, object_id: int) -> np.ndarray:
        """Return the (H, W) bool mask of one object; `KeyError` when it is not in this result."""
        try:
            return self.masks[self.object_ids.index(object_id)]
        except ValueError:
            raise KeyError(f"object {object_id} is not among {self.object_ids}") from None

    def show(
        self, frame: np.ndarray, prompts: PromptSet | None = None, opacity: float = 0.35
    ) -> Image.Image:
        """Return the frame with the masks drawn over it; a notebook shows it.

        Args:
            frame: the pixels, (H, W, 3) uint8 RGB.
            prompts: gives the names and colours of the objects and their order, later ones on
                top; None draws every object in the colour of its id.
            opacity: opacity of the fills, 0 to 1.

        Raises:
            ValueError: the frame has another shape or type.
        """
        from PIL import Image

        from surgsam2.results.drawing import DrawnObject, PlainObject, draw_masks

        if frame.shape != (*self.masks.shape[1:], 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"frame must be {(*self.masks.shape[1:], 3)} uint8 RGB, got {frame.shape} "
                f"{frame.dtype}"
            )
        objects: list[DrawnObject] = [PlainObject(i) for i in self.object_ids]
        if prompts is not None:
            objects = [item for item in prompts.objects if item.id in self.object_ids]
        masks = [self.mask(item.id) for item in objects]
        return Image.fromarray(draw_masks(frame, masks, objects, self.frame_index, opacity))

    def plot(self, frame: np.ndarray, prompts: PromptSet | None = None, axes: Any = None) -> Any:
        """Draw what `show` returns with matplotlib, which must be installed.

        Args:
            frame: the pixels, (H, W, 3) uint8 RGB.
            prompts: as for `show`.
            axes: the axes to draw into; None makes a new figure.

        Returns:
            The axes.

        Raises:
            MissingDependencyError: matplotlib is not installed.
            ValueError: the frame has another shape or type.
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise MissingDependencyError(
                "plots need the Python package matplotlib: pip install matplotlib"
            ) from error
        if axes is None:
            _, axes = pyplot.subplots()
        axes.imshow(self.show(frame, prompts))
        axes.set_title(f"frame {self.frame_index}")
        axes.set_axis_off()
        return axes

    def __repr__(self) -> str:
        n, h, w = self.masks.shape
        return (
            f"FrameResult(frame_index={self.frame_index}, object_ids={self.object_ids}, "
            f"masks=({n}, {h}, {w}) bool)"
        )
