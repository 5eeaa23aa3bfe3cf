"""Comparison of the masks of two subjects, label PNG by label PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.errors import OutputError
from surgsam2.storage.image_file import read_pixels


def compare_masks(ours: Path, theirs: Path) -> dict[str, Any]:
    """Compute the lowest and the mean IoU over all frames and objects of two folders.

    Masks that are empty in both folders are not counted.

    Args:
        ours: Folder of label PNGs.
        theirs: Folder of label PNGs with the same file names.

    Returns:
        `masks`, the number of masks counted, `lowest_iou` and `mean_iou`, which are None
        without any.

    Raises:
        OutputError: The folders do not hold the same frames.
        ImageFileError: A file cannot be read.
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
