"""From the network's mask logits to masks at the video's resolution."""

from __future__ import annotations

import time
from collections.abc import Iterable

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from surgsam2.model.cuda.copies import to_device, to_host
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.memory import MaskOutput
from surgsam2.tracking.options import TrackingOptions

GIVEN_LOGIT = 1000.0
"""The logit inside a mask that the user gave, higher than any of the network's own."""
EDGE_LOGIT = 0.1
"""Logit of a filled hole, just inside the object as in SAM 2; that of a removed part is -0.1."""


def make_result(
    frame_index: int,
    outputs: dict[int, MaskOutput],
    size: tuple[int, int],
    options: TrackingOptions,
    began: float,
) -> FrameResult:
    """Return the result of one frame.

    Args:
        frame_index: index of the frame.
        outputs: the mask decoder's outputs by object id, in the order of the result.
        size: (width, height) of the video in pixels.
        options: `allow_overlap`, `min_region` and `largest_part` count.
        began: reading of `time.perf_counter` when work on the frame began, in seconds.
    """
    width, height = size
    if not outputs:
        none, empty = np.zeros(0, np.float32), np.zeros((0, height, width), bool)
        return FrameResult(
            frame_index,
            (),
            empty,
            none,
            none,
            milliseconds=(time.perf_counter() - began) * 1000,
            compute_logits=lambda: empty.astype(np.float32),
        )
    low_res = torch.cat([output.low_res for output in outputs.values()])
    low_res = tidy(low_res, options)

    def logits() -> torch.Tensor:
        return to_video_resolution(low_res, width, height)

    scores_there = torch.stack([output.scores for output in outputs.values()])
    masks, scores = to_host(make_masks(outputs, low_res, size, options), scores_there)
    for row, output in enumerate(outputs.values()):
        if output.given is not None and not masks[row].any():
            scores[row] = 0  # other objects cover the mask that was given
    return FrameResult(
        frame_index,
        tuple(outputs),
        masks,
        iou_scores=scores[:, 0],
        presence=scores[:, 1],
        milliseconds=(time.perf_counter() - began) * 1000,
        compute_logits=lambda: logits().cpu().numpy(),
    )


def make_masks(
    outputs: dict[int, MaskOutput],
    low_res: torch.Tensor,
    size: tuple[int, int],
    options: TrackingOptions,
) -> torch.Tensor:
    """Return the masks of one or more objects at the video's resolution.

    Args:
        outputs: the mask decoder's outputs by object id.
        low_res: their logits, (N, 1, s, s).
        size: (width, height) of the video in pixels.
        options: `allow_overlap` counts.

    Returns:
        (N, H, W) bool on the device of the logits.
    """
    # One object at a time: its logits stay in the processor's cache while they are compared.
    one_by_one = (
        to_video_resolution(low, *size)[0]
        if output.given is None
        else torch.where(output.given.to(low.device), GIVEN_LOGIT, -GIVEN_LOGIT)
        for output, low in zip(outputs.values(), low_res.split(1), strict=True)
    )
    return to_masks(one_by_one, allow_overlap=options.allow_overlap)


def to_video_resolution(low_res: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Resize (N, 1, s, s) logits of the square input to (N, H, W), bilinearly as in SAM 2."""
    return F.interpolate(low_res, size=(height, width), mode="bilinear", align_corners=False)[:, 0]


def to_masks(logits: Iterable[torch.Tensor], *, allow_overlap: bool) -> torch.Tensor:
    """Threshold the logits of one or more objects.

    Args:
        logits: (H, W) logits of each object.
        allow_overlap: whether a pixel may belong to several objects. If not, it belongs to the
            object with the highest logit, and to the first of several with equal logits.

    Returns:
        (N, H, W) bool masks.
    """
    if allow_overlap:
        return torch.stack([one > 0 for one in logits])
    masks: list[torch.Tensor] = []
    highest, before = torch.zeros(()), None
    for one in logits:
        if before is not None:
            highest = torch.maximum(highest, before)
        masks.append(one > highest)
        before = one
    # A pixel belongs to the last object whose logit was higher there than all before it.
    taken = torch.zeros_like(masks[0])
    for mask in reversed(masks):
        mask.logical_and_(~taken)
        taken.logical_or_(mask)
    return torch.stack(masks)


def tidy(low_res: torch.Tensor, options: TrackingOptions) -> torch.Tensor:
    """Fill small holes of masks, and remove small parts or all but the largest part.

    Holes and parts are 8-connected, as in SAM 2's CUDA extension. OpenCV finds them on the CPU,
    whatever device the logits are on.

    Args:
        low_res: (N, 1, s, s) logits, whose square is the whole picture.
        options: `min_region` and `largest_part` count.

    Returns:
        (N, 1, s, s) logits, which are positive inside the tidy masks.
    """
    if not options.min_region and not options.largest_part:
        return low_res
    given = (low_res[:, 0] > 0).cpu().numpy()
    tidied = np.stack([_tidied(one, options) for one in given])
    for changed, logit in ((tidied & ~given, EDGE_LOGIT), (given & ~tidied, -EDGE_LOGIT)):
        if changed.any():
            where = to_device(torch.from_numpy(changed)[:, None], low_res.device)
            low_res = torch.where(where, logit, low_res)
    return low_res


def _tidied(mask: np.ndarray, options: TrackingOptions) -> np.ndarray:
    """Return an (s, s) bool mask without its small holes and parts."""
    most = options.min_region * mask.size
    labels, areas = _regions(~mask)
    mask = (areas <= most)[labels] | mask
    labels, areas = _regions(mask)
    if not len(areas[1:]):
        return mask
    stays = np.zeros(len(areas), bool) if options.largest_part else areas > most
    stays[1 + int(areas[1:].argmax())] = True
    stays[0] = False
    return stays[labels]


def _regions(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (s, s) labels of connected regions, 0 where there is none, and their areas."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(image.view(np.uint8), connectivity=8)
    return labels, stats[:, cv2.CC_STAT_AREA]
