"""A simulated user, who gives first prompts and then clicks where the network is wrong.

Frames, kinds and places are drawn from a NumPy generator, so that the seed of a step decides
them. Coordinates are (x, y) pixels of the network's square input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from surgsam2.training.config import PromptConfig

PromptKind = Literal["mask", "points", "box"]


@dataclass(frozen=True)
class PromptPlan:
    """Which frames of a batch are prompted and how; all objects of a batch share the plan."""

    kind: PromptKind
    prompted: tuple[int, ...]
    """Frames with a first prompt, ascending; 0 is always among them."""
    corrected: tuple[int, ...]
    """Frames with correction clicks, ascending. None of them where masks are given."""
    first_points: int = 1
    """Number of points of a first prompt that is points."""


@dataclass(frozen=True)
class Clicks:
    """Points of O objects, P each."""

    points: torch.Tensor
    """(O, P, 2) float32."""
    labels: torch.Tensor
    """(O, P) int32: 1 and 0 for inside and outside, 2 and 3 for the corners of a box."""

    def and_then(self, more: Clicks) -> Clicks:
        """Return these clicks followed by `more`."""
        return Clicks(
            torch.cat([self.points, more.points], dim=1),
            torch.cat([self.labels, more.labels], dim=1),
        )


def draw_plan(config: PromptConfig, frames: int, rng: np.random.Generator) -> PromptPlan:
    """Draw the plan of one batch of clips of `frames` frames.

    A still image is never prompted with its mask, because nothing would be left to learn.
    """
    use_points = frames == 1 or rng.random() < config.points_or_box
    use_box = rng.random() < config.box
    kind: PromptKind = "mask" if not use_points else "box" if use_box else "points"
    # A frame prompted with a mask gives no output to learn from, so one frame has no mask.
    most = frames - 1 if kind == "mask" else frames
    prompted_count = int(rng.integers(1, min(config.prompted_frames, most) + 1))
    prompted = (0, *sorted(_choose(list(range(1, frames)), prompted_count - 1, rng)))
    points = int(rng.integers(1, config.first_points + 1))
    if kind == "mask" or not config.corrections or not config.corrected_frames:
        return PromptPlan(kind, prompted, (), points)
    most = max(min(config.corrected_frames, frames), 1)
    corrected_count = int(rng.integers(min(prompted_count, most), most + 1))
    others = [t for t in range(frames) if t not in prompted]
    extra = max(corrected_count - prompted_count, 0)
    corrected = sorted([*prompted[:corrected_count], *_choose(others, extra, rng)])
    return PromptPlan(kind, prompted, tuple(corrected), points)


def _choose(frames: list[int], count: int, rng: np.random.Generator) -> list[int]:
    """Draw `count` different frames."""
    return [int(t) for t in rng.choice(frames, count, replace=False)] if count else []


def first_clicks(
    masks: torch.Tensor, plan: PromptPlan, config: PromptConfig, rng: np.random.Generator
) -> Clicks:
    """Draw points or boxes for the (O, S, S) bool masks of a prompted frame."""
    if plan.kind != "box":
        return clicks_inside(masks, plan.first_points, rng)
    clicks = box_corners(masks, config, rng)
    for _ in range(int(rng.integers(config.box_points + 1))):
        where = masks if rng.random() < 0.5 else _near(masks)
        clicks = clicks.and_then(_clicks_in(masks, where, 1, rng))
    return clicks


def _near(masks: torch.Tensor) -> torch.Tensor:
    """Return the pixels outside of each (S, S) mask but in its box or a tenth of it beside it."""
    boxes = torch.zeros_like(masks)
    for mask, box in zip(masks, boxes, strict=True):
        rows, columns = (torch.nonzero(mask.any(dim=axis)).flatten().tolist() for axis in (1, 0))
        if rows:
            high, wide = (rows[-1] - rows[0]) // 10 + 1, (columns[-1] - columns[0]) // 10 + 1
            box[
                max(rows[0] - high, 0) : rows[-1] + high + 1,
                max(columns[0] - wide, 0) : columns[-1] + wide + 1,
            ] = True
    return boxes & ~masks


def clicks_inside(masks: torch.Tensor, count: int, rng: np.random.Generator) -> Clicks:
    """Draw `count` points uniformly in each object, or outside an object that is not visible."""
    return _clicks_in(masks, masks, count, rng)


def corrections(
    masks: torch.Tensor,
    predicted: torch.Tensor,
    config: PromptConfig,
    rng: np.random.Generator,
) -> Clicks:
    """Draw one click per object, uniform over the pixels where (O, S, S) bool masks differ.

    The click is positive where the truth is. Where nothing differs, it is a negative click.
    """
    if rng.random() < config.from_truth:
        return clicks_inside(masks, 1, rng)
    return _clicks_in(masks, masks ^ predicted, 1, rng)


def box_corners(masks: torch.Tensor, config: PromptConfig, rng: np.random.Generator) -> Clicks:
    """Draw bounding boxes with noisy corners; the whole picture for an object out of sight."""
    size = masks.shape[-1]
    boxes = np.empty((len(masks), 4))
    for row, mask in enumerate(masks.cpu().numpy()):
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if not len(columns):
            boxes[row] = (0, 0, size - 1, size - 1)
            continue
        x0, x1, y0, y1 = columns[0], columns[-1], rows[0], rows[-1]
        sides = np.array([x1 - x0 + 1, y1 - y0 + 1] * 2, float)
        limit = np.minimum(config.box_noise * sides * 2, config.box_noise_limit)
        noise = np.clip(rng.standard_normal(4) * config.box_noise * sides, -limit, limit)
        boxes[row] = np.clip(np.array([x0, y0, x1, y1]) + noise, 0, size - 1)
    points = torch.from_numpy(boxes.reshape(-1, 2, 2)).float().to(masks.device)
    labels = torch.tensor([[2, 3]], dtype=torch.int32).expand(len(masks), -1)
    return Clicks(points, labels.to(masks.device))


def _clicks_in(
    truth: torch.Tensor, where: torch.Tensor, count: int, rng: np.random.Generator
) -> Clicks:
    """Draw `count` clicks for each object, labelled by the truth.

    Args:
        truth: (O, S, S) bool masks.
        where: (O, S, S) bool pixels to draw from. Without any, a click goes outside of the object.
        count: number of clicks.
        rng: decides the pixels.
    """
    size = truth.shape[-1]
    truths, places = truth.cpu().numpy(), where.cpu().numpy()
    points = np.empty((len(truths), count, 2), np.float32)
    labels = np.empty((len(truths), count), np.int32)
    for row, (mask, place) in enumerate(zip(truths, places, strict=True)):
        candidates = np.flatnonzero(place)
        if not len(candidates):
            candidates = np.flatnonzero(~mask)
        if not len(candidates):  # The object fills the picture.
            candidates = np.arange(mask.size)
        chosen = rng.choice(candidates, count)
        points[row] = np.stack([chosen % size, chosen // size], axis=-1)
        labels[row] = mask.reshape(-1)[chosen]
    return Clicks(
        torch.from_numpy(points).to(truth.device), torch.from_numpy(labels).to(truth.device)
    )
