"""Tiny datasets on disk, made for the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgsam2.storage.palette import VOC_PALETTE

SHAPE = (24, 32)
"""Height and width of the frames."""


def save_frame(path: Path, value: int = 90, shape: tuple[int, int] = SHAPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(value)
    Image.fromarray(rng.integers(0, 255, (*shape, 3), dtype=np.uint8)).save(path)
    return path


def save_labels(path: Path, labels: np.ndarray, mode: str = "P") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "I;16":
        Image.fromarray(labels.astype(np.uint16)).save(path)
        return path
    image = Image.fromarray(labels.astype(np.uint8))
    if mode == "P":
        image.putpalette(VOC_PALETTE.ravel().tolist())
    image.save(path)
    return path


def box_labels(*ids: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Labels with a 6x6 square for every id, side by side."""
    labels = np.zeros(shape, np.uint16)
    for i, object_id in enumerate(ids):
        labels[4:10, 1 + 8 * i : 7 + 8 * i] = object_id
    return labels


VOSFolder = Callable[..., Path]


@pytest.fixture
def a_vos_folder(tmp_path: Path) -> VOSFolder:
    """Makes a VOS folder: {sequence: {frame index: ids in its labels, or None}}."""

    def make(content: dict[str, dict[int, tuple[int, ...] | None]], suffix: str = "png") -> Path:
        root = tmp_path / "vos"
        for name, frames in content.items():
            for index, ids in frames.items():
                save_frame(root / "JPEGImages" / name / f"{index:05d}.{suffix}", index)
                if ids is not None:
                    path = root / "Annotations" / name / f"{index:05d}.png"
                    save_labels(path, box_labels(*ids))
        (root / "Annotations").mkdir(parents=True, exist_ok=True)
        return root

    return make
