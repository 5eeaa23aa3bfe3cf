"""Tiny but real: the demo network at 64 pixels, on synthetic clips of 64 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surgsam2.training.batches import collate
from surgsam2.training.clip_cache import CacheConfig, CachedClip, build_cache
from surgsam2.training.config import TrainConfig, parse
from surgsam2.training.distributed import Place
from surgsam2.training.rollout import ClipBatch

SIZE = 64
CACHE = {"clips": 4, "first_seed": 50, "frames": 4, "scene_frames": 20, "side": SIZE}


@pytest.fixture(scope="session")
def a_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four clips of four frames."""
    folder = tmp_path_factory.mktemp("clips")
    build_cache(folder, CacheConfig(**CACHE))
    return folder


@pytest.fixture(scope="session")
def some_clips(a_cache: Path) -> list[CachedClip]:
    return build_cache(a_cache, CacheConfig(**CACHE))


@pytest.fixture
def some_settings(a_cache: Path, demo_checkpoint: Path) -> dict[str, Any]:
    """A run of six short steps from `demo_weights`; the rest is as published."""
    return {
        "name": "tiny",
        "model": str(demo_checkpoint),
        "network": "demo",
        "image_size": SIZE,
        "data": [a_source(a_cache)],
        "prompts": {"corrections": 1},
        "epochs": 2,
        "steps": 3,
        "save_every": 2,
        "log_every": 1,
    }


def a_source(folder: Path, **settings: Any) -> dict[str, Any]:
    return {
        "kind": "synthetic",
        "path": str(folder),
        "synthetic": CACHE,
        "batch": 1,
        "frames": 2,
        "max_objects": 2,
        **settings,
    }


def a_config(settings: dict[str, Any]) -> TrainConfig:
    config = parse(TrainConfig, settings, "")
    assert isinstance(config, TrainConfig)
    return config


def cpu() -> Place:
    return Place(0, 1, torch.device("cpu"))


@pytest.fixture(scope="session")
def a_batch(some_clips: list[CachedClip]) -> ClipBatch:
    """Two clips of three frames, each with its objects of the first frame."""
    samples = []
    for clip in some_clips[:2]:
        frames = np.stack([clip.read_frame(t) for t in range(3)])
        labels = np.stack([clip.read_labels(t) for t in range(3)])
        samples.append((frames, labels, tuple(int(i) for i in np.unique(labels[0]) if i)))
    return collate(samples)
