"""Synthetic clips kept on disk: generating costs more than reading, and epochs repeat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from surgsam2.data import Difficulty, Sequence, generate_clip
from surgsam2.errors import DatasetError, InputError

_SHAPES = ((1.0, 1.0), (1.5, 0.84))
"""(width, height) of the scenes in units of the stored side: square, and 16:9."""


@dataclass(frozen=True)
class CacheConfig:
    """Which synthetic clips to keep; the same values give the same clips."""

    clips: int = 1400
    first_seed: int = 1_000_000
    """Clip k has the seed `first_seed` + k. Held-out clips take seeds below it."""
    frames: int = 12
    """Stored frames of a clip."""
    stride: int = 2
    """Scene frames from one stored frame to the next."""
    scene_frames: int = 60
    """Length of the scene; the stored frames are a part of it, placed by the seed."""
    side: int = 256
    """Stored frames are squares of this many pixels, as the network sees them."""
    easiest: float = 0.1
    hardest: float = 0.75
    """Difficulties are uniform between the two."""
    neighbours: float = 0.0
    """See `surgsam2.data.synthetic.Difficulty`, as for the next."""
    leaving: float | None = None

    def __post_init__(self) -> None:
        if (self.frames - 1) * self.stride >= self.scene_frames:
            raise InputError(
                f"{self.frames} frames at a stride of {self.stride} do not fit "
                f"{self.scene_frames} scene frames"
            )
        for level in (self.easiest, self.hardest):
            self.difficulty(level)  # refuses bad values now, not at the first clip

    def difficulty(self, level: float) -> Difficulty:
        """Of a clip of this level."""
        return Difficulty(level, self.neighbours, self.leaving)


class CachedClip(Sequence):
    """A stored clip; the files are memory-mapped, so only what is drawn is read."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self.annotated = tuple(range(len(self)))
        self.object_ids = tuple(int(i) for i in np.unique(self._labels) if i)
        self.object_names = {}

    @cached_property
    def _frames(self) -> np.ndarray:
        return np.load(self._path / "frames.npy", mmap_mode="r", allow_pickle=False)

    @cached_property
    def _labels(self) -> np.ndarray:
        return np.load(self._path / "labels.npy", mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._frames)

    def read_frame(self, index: int) -> np.ndarray:
        return np.array(self._frames[index])

    def read_labels(self, index: int) -> np.ndarray:
        return np.array(self._labels[index], np.uint16)


def build_cache(folder: str | Path, config: CacheConfig) -> list[CachedClip]:
    """The clips of `config`; those not yet in `folder` are generated first.

    An interrupted call is continued by the next one.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    return [_clip(root, config, config.first_seed + k) for k in range(config.clips)]


def _clip(root: Path, config: CacheConfig, seed: int) -> CachedClip:
    name = f"{seed}-{config.frames}x{config.side}-{config.stride}"
    if config.neighbours:
        name += f"-neighbours{config.neighbours:g}"
    if config.leaving is not None:
        name += f"-leaving{config.leaving:g}"
    path = root / name
    if not (path / "labels.npy").is_file():
        path.mkdir(exist_ok=True)
        frames, labels = _generate(config, seed)
        np.save(path / "frames.npy", frames)
        # written last, under its final name only when complete: it marks a whole clip
        unfinished = path / "unfinished.npy"
        np.save(unfinished, labels)
        unfinished.replace(path / "labels.npy")
    try:
        return CachedClip(path)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} is damaged ({error}); delete it to have it made anew"
        ) from error


def _generate(config: CacheConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
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
