"""Small datasets with a known truth, in the layouts that protocols read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from surgsam2.data.endovis import ENDOVIS18_CLASSES
from surgsam2.evaluation.runner import ModelSpec
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.evaluation.truth.sequences import Scan, label_sequences, scan
from surgsam2.results.frame_result import FrameResult

SHAPE = (90, 120)
FRAMES = 6


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Use one thread: small tensors gain nothing from more, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def moving_labels(index: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Draw two moving rectangles: 1 from the start, 2 from frame 2 on but not on frame 4."""
    labels = np.zeros(shape, np.uint8)
    labels[20:50, 10 + 3 * index : 45 + 3 * index] = 1
    if index >= 2 and index != 4:
        labels[55:80, 60 - 2 * index : 95 - 2 * index] = 2
    return labels


def picture(index: int, labels: np.ndarray) -> np.ndarray:
    """Draw (H, W, 3) uint8: a texture, and brighter objects that move with their labels."""
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]]
    frame = np.stack([90 + 30 * np.sin(x / 5), 50 + 20 * np.sin(y / 7), 60 + 0 * x], axis=-1)
    frame[labels == 1] += (80, 90 + index, 20)
    frame[labels == 2] += (0, 70, 120)
    return frame.clip(0, 255).astype(np.uint8)


def save_indexed(labels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)


def write_vos_sequence(root: Path, name: str, frames: int = FRAMES) -> Path:
    for index in range(frames):
        labels = moving_labels(index)
        save_indexed(labels, root / "Annotations" / name / f"{index:05d}.png")
        image = root / "JPEGImages" / name / f"{index:05d}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(index, labels)).save(image)
    return root


@pytest.fixture
def a_vos_dataset(tmp_path: Path) -> Path:
    """One sequence of 6 frames in DAVIS' layout."""
    return write_vos_sequence(tmp_path / "dataset", "clip")


@pytest.fixture
def an_endovis17_release(tmp_path: Path) -> Path:
    """Sequences 1 and 3 (fold 0) in the layout of EndoVis 2017: one mask folder per instrument."""
    root = tmp_path / "endovis17"
    for number in (1, 3):
        folder = root / f"instrument_dataset_{number}"
        for index in range(FRAMES):
            labels = moving_labels(index)
            save_indexed(picture(index, labels), folder / "left_frames" / f"frame{index:03d}.png")
            for value, tool in ((1, "Left_Prograsp_Forceps"), (2, "Right_Prograsp_Forceps")):
                mask = np.where(labels == value, 10, 0).astype(np.uint8)
                truth = folder / "ground_truth" / f"{tool}_labels" / f"frame{index:03d}.png"
                save_indexed(mask, truth)
    return root


@pytest.fixture
def an_endovis18_release(tmp_path: Path) -> Path:
    """Validation sequence 2 and training sequence 4 of EndoVis 2018, colour coded."""
    root = tmp_path / "endovis18"
    colours = np.zeros((256, 3), np.uint8)
    colours[1], colours[2] = ENDOVIS18_CLASSES[1][1], ENDOVIS18_CLASSES[4][1]
    for number in (2, 4):
        folder = root / f"seq_{number}"
        for index in range(FRAMES):
            labels = moving_labels(index)
            save_indexed(picture(index, labels), folder / "left_frames" / f"frame{index:03d}.png")
            save_indexed(colours[labels], folder / "labels" / f"frame{index:03d}.png")
    return root


@pytest.fixture
def a_truth(tmp_path: Path) -> Path:
    """Label PNGs alone: sequences `a` and `b`, 6 frames each."""
    root = tmp_path / "truth"
    for name in ("a", "b"):
        for index in range(FRAMES):
            save_indexed(moving_labels(index), root / name / f"{index:05d}.png")
    return root


def scans_of(truth: Path) -> list[Scan]:
    return [scan(sequence, Problems()) for sequence in label_sequences(truth).values()]


@pytest.fixture
def a_spec(demo_checkpoint: Path, small_config: Path) -> ModelSpec:
    """A small model whose weights give different masks for different prompts."""
    return ModelSpec(str(demo_checkpoint), str(small_config), device="cpu")


@pytest.fixture
def a_perfect_tracker(monkeypatch):
    """Replace `segment_video` by a tracker that yields the true masks from the first prompt on."""

    def segment(model, video, prompts, **options):
        for index in range(prompts.frames[0], video.frame_count):
            ids = tuple(p.id for p in prompts if p.prompts[0].frame <= index)
            masks = np.stack([moving_labels(index) == i for i in ids])
            known = masks.any(axis=(1, 2)).astype(np.float32)
            yield FrameResult(index, ids, masks, np.ones(len(ids), np.float32), known, 10.0)

    monkeypatch.setattr("surgsam2.tracking.segment.segment_video", segment)
