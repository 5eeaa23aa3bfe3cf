"""Synthetic clips stored on disk, because generating them costs more than reading them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from surgsam2.data import Difficulty, Sequence, generate_clip
from surgsam2.errors import DatasetError, InputError

_FRAMES, _LABELS = "frames.npy", "labels.npy"
"""Files of a stored clip. That of the labels is written last and marks a complete clip."""
_SHAPES = ((1.0, 1.0), (1.5, 0.84))
"""(width, height) of the scenes in units of the stored side: square, and 16:9."""


@dataclass(frozen=True)
class CacheConfig:
    """Which synthetic clips to store; the same values give the same clips."""

    clips: int = 1400
    """Number of clips."""
    first_seed: int = 1_000_000
    """Clip k has the seed `first_seed` + k. Held-out clips take seeds below it."""
    frames: int = 12
    """Number of stored frames of a clip."""
    stride: int = 2
    """Distance of two stored frames in frames of the scene."""
    scene_frames: int = 60
    """Length of the scene; the seed decides which part of it is stored."""
    side: int = 256
    """Side of the stored square frames in pixels."""
    easiest: float = 0.1
    hardest: float = 0.75
    """Difficulties are uniform between `easiest` and `hardest`."""
    neighbours: float = 0.0
    """See `surgsam2.data.Difficulty`, also for `leaving`."""
    leaving: float | None = None

    def __post_init__(self) -> None:
        if (self.frames - 1) * self.stride >= self.scene_frames:
            raise InputError(
                f"{self.frames} frames at a stride of {self.stride} do not fit "
                f"{self.scene_frames} scene frames"
            )
        for level in (self.easiest, self.hardest):
            self.difficulty(level)  # Bad values are refused here, not at the first clip.

    def difficulty(self, level: float) -> Difficulty:
        """Return the difficulty of a clip of this level."""
        return Difficulty(level, self.neighbours, self.leaving)


class CachedClip(Sequence):
    """A stored clip; its files are memory-mapped, so that only drawn frames are read.

    Args:
        path: folder of the clip, as `write_clip` writes it.

    Raises:
        DatasetError: its files are damaged.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        try:
            self.annotated = tuple(range(len(self)))
            self.object_ids = tuple(int(i) for i in np.unique(self._labels) if i)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{path} is damaged ({error}); delete it to have it made anew"
            ) from error
        self.object_names = {}

    @cached_property
    def _frames(self) -> np.ndarray:
        return np.load(self._path / _FRAMES, mmap_mode="r", allow_pickle=False)  # noqa: TID251

    @cached_property
    def _labels(self) -> np.ndarray:
        return np.load(self._path / _LABELS, mmap_mode="r", allow_pickle=False)  # noqa: TID251

    def __len__(self) -> int:
        return len(self._frames)

    def read_frame(self, index: int) -> np.ndarray:
        """Read frame `index`: (S, S, 3) uint8 RGB."""
        return np.array(self._frames[index])

    def read_labels(self, index: int) -> np.ndarray:
        """Read the labels of frame `index`: (S, S) uint16."""
        return np.array(self._labels[index], np.uint16)


def has_clip(path: Path) -> bool:
    """Return whether a folder holds a complete clip."""
    return (path / _LABELS).is_file()


def write_clip(path: Path, frames: np.ndarray, labels: np.ndarray) -> None:
    """Store a clip in a folder, which is made if it does not exist.

    Args:
        path: the folder.
        frames: (T, S, S, 3) uint8 RGB.
        labels: (T, S, S) uint8 object ids, 0 for none.
    """
    path.mkdir(exist_ok=True)
    np.save(path / _FRAMES, frames)
    unfinished = path / "unfinished.npy"
    np.save(unfinished, labels)
    unfinished.replace(path / _LABELS)


def build_cache(folder: str | Path, config: CacheConfig) -> list[CachedClip]:
    """Return the clips of `config`, after generating those that are not in `folder` yet.

    The next call continues an interrupted one.

    Raises:
        DatasetError: a clip in the folder is damaged.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    return [_clip(root, config, config.first_seed + k) for k in range(config.clips)]


def _clip(root: Path, config: CacheConfig, seed: int) -> CachedClip:
    """Return the clip of a seed, which is generated if it is not stored yet."""
    name = f"{seed}-{config.frames}x{config.side}-{config.stride}"
    if config.neighbours:
        name += f"-neighbours{config.neighbours:g}"
    if config.leaving is not None:
        name += f"-leaving{config.leaving:g}"
    path = root / name
    if not has_clip(path):
        write_clip(path, *_generate(config, seed))
    return CachedClip(path)


def _generate(config: CacheConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames and labels of a seed, as `write_clip` takes them."""
    rng = np.random.default_rng(seed)
    width, height = (round(f * config.side) for f in _SHAPES[int(rng.integers(len(_SHAPES)))])
    clip = generate_clip(
        seed,
        config.scene_frames,
        (width, height),
        difficulty=config.difficulty(float(rng.uniform(config.easiest, config.hardest))),
    )
    start = int(rng.integers(config.scene_frames - (config.frames - 1) * config.stride))
    frames = np.empty((config.frames, config.side, config.side, 3), np.uint8)
    labels = np.empty((config.frames, config.side, config.side), np.uint8)
    for k in range(config.frames):
        frame, label = clip.frame(start + k * config.stride)
        square = (config.side, config.side)
        frames[k] = cv2.resize(frame, square, interpolation=cv2.INTER_AREA)
        labels[k] = cv2.resize(label, square, interpolation=cv2.INTER_NEAREST)
    return frames, labels
