"""Are two subjects' masks the same? Label PNGs compared frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.errors import OutputError
from surgsam2.storage.image_file import read_pixels


def compare_masks(ours: Path, theirs: Path) -> dict[str, Any]:
    """Lowest and mean IoU over all frames and objects of two folders of label PNGs.

    A mask that is empty in both says nothing and is not counted; `masks` is the number
    of those that are.

    Raises:
        OutputError: the folders do not hold the same frames.
        ImageFileError: a file cannot be read.
    """
    names = sorted(path.name for path in ours.glob("*.png"))
    if not names or names != sorted(path.name for path in theirs.glob("*.png")):
        raise OutputError(f"{ours} and {theirs} do not hold masks of the same frames")
    ious = [
        iou
        for name in names
        for iou in _ious(*(read_pixels(f / name).values for f in (ours, theirs)))
    ]
    return {
        "masks": len(ious),
        "lowest_iou": min(ious, default=None),
        "mean_iou": float(np.mean(ious)) if ious else None,
    }


def _ious(a: np.ndarray, b: np.ndarray) -> list[float]:
    ids = np.union1d(np.unique(a), np.unique(b))
    return [float(((a == i) & (b == i)).sum() / ((a == i) | (b == i)).sum()) for i in ids if i != 0]
