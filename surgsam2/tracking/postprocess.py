"""From the network's mask logits to masks at the video's resolution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from surgsam2.errors import InputError
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.memory import MaskOutput

HOLE_LOGIT = 0.1
"""Value a filled hole gets: just inside the object, as in SAM 2."""


@dataclass(frozen=True)
class MaskOptions:
    """How masks are made from the network's output; none of it changes the memories."""

    non_overlap: bool = False
    """Give each pixel to at most one object, that of the highest logit."""
    fill_holes: int = 0
    """Fill holes of up to this many pixels of the low-resolution mask (a quarter of the
    network's input in each direction). SAM 2's own value, where it can, is 8."""

    def __post_init__(self) -> None:
        holes = self.fill_holes
        if not isinstance(holes, Integral) or isinstance(holes, bool) or holes < 0:
            raise InputError(f"fill_holes must be a whole number of 0 or more, got {holes!r}")


def make_result(
    frame_index: int,
    outputs: dict[int, MaskOutput],
    size: tuple[int, int],
    options: MaskOptions,
) -> FrameResult:
    """The result of one frame.

    Args:
        outputs: by object id, in the order of the result.
        size: (width, height) of the video in pixels.
    """
    width, height = size
    if not outputs:
        none, empty = np.zeros(0, np.float32), np.zeros((0, height, width), bool)
        return FrameResult(
            frame_index, (), empty, none, none, compute_logits=lambda: empty.astype(np.float32)
        )
    low_res = torch.cat([output.low_res for output in outputs.values()])
    low_res = fill_small_holes(low_res, options.fill_holes)
    scores = torch.stack([output.scores for output in outputs.values()]).cpu().numpy()

    def logits() -> torch.Tensor:
        return to_video_resolution(low_res, width, height)

    # those of one object stay in a processor's cache while they are compared
    one_by_one = (to_video_resolution(low, width, height)[0] for low in low_res.split(1))
    return FrameResult(
        frame_index,
        tuple(outputs),
        to_masks(one_by_one, non_overlap=options.non_overlap).cpu().numpy(),
        iou_scores=scores[:, 0],
        presence=scores[:, 1],
        compute_logits=lambda: logits().cpu().numpy(),
    )


def to_video_resolution(low_res: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """(N, 1, s, s) logits of the square input to (N, H, W), bilinear as in SAM 2."""
    return F.interpolate(low_res, size=(height, width), mode="bilinear", align_corners=False)[:, 0]


def to_masks(logits: Iterable[torch.Tensor], *, non_overlap: bool) -> torch.Tensor:
    """(H, W) logits of one or more objects to (N, H, W) bool masks.

    With `non_overlap` a pixel goes to the object of the highest logit, of equal ones the first.
    """
    if not non_overlap:
        return torch.stack([one > 0 for one in logits])
    masks: list[torch.Tensor] = []
    highest, before = torch.zeros(()), None
    for one in logits:
        if before is not None:
            highest = torch.maximum(highest, before)
        masks.append(one > highest)
        before = one
    # a pixel belongs to the last object that was higher there than all before
    taken = torch.zeros_like(masks[0])
    for mask in reversed(masks):
        mask.logical_and_(~taken)
        taken.logical_or_(mask)
    return torch.stack(masks)


def fill_small_holes(low_res: torch.Tensor, max_area: int) -> torch.Tensor:
    """Close holes of at most `max_area` low-resolution pixels in (N, 1, s, s) logits.

    A hole is an 8-connected region of background (logit <= 0), as in SAM 2's CUDA
    extension; here by OpenCV on the CPU, on a copy of S/4 x S/4 pixels per object.
    """
    if max_area <= 0:
        return low_res
    background = (low_res[:, 0] <= 0).cpu().numpy().astype(np.uint8)
    holes = np.stack([_small_regions(b, max_area) for b in background])
    return torch.where(torch.from_numpy(holes)[:, None].to(low_res.device), HOLE_LOGIT, low_res)


def _small_regions(image: np.ndarray, max_area: int) -> np.ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(image, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= max_area
    small[0] = False  # label 0 is the object itself
    return small[labels]
