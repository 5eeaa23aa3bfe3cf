"""Prompts made from the truth, in the settings of the SurgSAM2 paper.

Each object is prompted once, on the first annotated frame where it appears, with its
full mask or with 1 or 5 points inside it. Points are drawn at random. The draw depends
only on the seed, the sequence's name and the object's id, so it is the same on every
machine, for every model, and whatever else is evaluated. The first of the 5 points is the
1 point.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np

from surgsam2.errors import InputError

if TYPE_CHECKING:
    from surgsam2.evaluation.truth.sequences import Scan
    from surgsam2.prompts import PromptSet

PromptSetting = Literal["mask", "1pt", "5pt"]
PROMPT_SETTINGS: tuple[PromptSetting, ...] = get_args(PromptSetting)
POINTS: dict[str, int] = {"1pt": 1, "5pt": 5}
"""Prompt setting -> number of points."""
TITLES: dict[str, str] = {"mask": "full mask", "1pt": "1 point", "5pt": "5 points"}
"""Prompt setting -> its title in reports."""


def parse_settings(text: str) -> list[PromptSetting]:
    """Parse text such as ``"mask,1pt"`` into settings, each once, in `PROMPT_SETTINGS`' order.

    Raises:
        InputError: The text is empty or names an unknown setting.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in names if name not in PROMPT_SETTINGS]
    if unknown or not names:
        raise InputError(
            f"prompts must be a comma-separated choice of {', '.join(PROMPT_SETTINGS)}, "
            f"got {text!r}"
        )
    return [setting for setting in PROMPT_SETTINGS if setting in names]


def prompts_for(each: Scan, setting: PromptSetting, seed: int) -> PromptSet:
    """Make the prompts of a sequence in one of the paper's settings."""
    from surgsam2.prompts import PromptSet

    prompts = PromptSet()
    for object_id, frame in sorted(each.first_frames.items()):
        mask = each.sequence.labels(frame) == object_id
        name = each.sequence.names.get(object_id)
        if setting == "mask":
            prompts.add(object_id=object_id, frame=frame, mask=mask, name=name)
        else:
            key = f"{each.sequence.name}/{object_id}"
            points = [list(p) for p in sample_points(mask, POINTS[setting], seed=seed, key=key)]
            prompts.add(object_id=object_id, frame=frame, points=points, name=name)
    return prompts


def sample_points(
    mask: np.ndarray, count: int, *, seed: int, key: str = ""
) -> list[tuple[float, float, int]]:
    """Draw `count` different points inside a mask.

    Points are drawn uniformly from the pixels that do not touch the mask's outline, since
    people click inside an object and not on its edge. Pixels on the outline follow when
    the others are used up. A draw of fewer points equals the beginning of a larger one.

    Args:
        mask: (H, W) bool.
        count: Number of points. A mask with fewer pixels gives all its pixels.
        seed: Seed of the draw.
        key: Text that makes the draws of different objects independent.

    Returns:
        (x, y, 1) per point, in pixels; 1 is the label of a positive click.

    Raises:
        InputError: The mask is empty.
    """
    if not mask.any():
        raise InputError("points cannot be sampled from an empty mask")
    inner = cv2.erode(
        np.pad(mask, 1).view(np.uint8), np.ones((3, 3), np.uint8), borderValue=0
    ).view(np.bool_)[1:-1, 1:-1]
    points: list[tuple[float, float, int]] = []
    draw = 0
    for pool in (inner, mask & ~inner):
        pixels = np.argwhere(pool)
        wanted = min(count, len(points) + len(pixels))
        while len(points) < wanted:
            # A hash is used because numpy's random streams may change between versions.
            digest = hashlib.sha256(f"{seed}/{key}/{draw}".encode()).hexdigest()
            y, x = pixels[int(digest, 16) % len(pixels)]
            point = (float(x), float(y), 1)
            if point not in points:
                points.append(point)
            draw += 1
    return points
