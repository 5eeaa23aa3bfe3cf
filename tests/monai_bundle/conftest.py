"""Fixtures: a small bundle as training writes it, and MONAI's command outside the repository."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from surgsam2.export.bundle_folder import write_bundle
from surgsam2.model.bundle import OWN
from tests.video.helpers import write_video

CONFIGS = OWN / "configs"
FRAMES = 5

MonaiCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def a_bundle(
    demo_weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Write a bundle of the demo network at 128 pixels with `demo_weights`."""
    folder = tmp_path_factory.mktemp("bundles") / "small"
    write_bundle(folder, demo_weights, "demo", 128)
    return folder


@pytest.fixture(scope="session")
def a_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a working directory with a clip and its prompts."""
    folder = tmp_path_factory.mktemp("place")
    write_video(folder / "clip.mp4", FRAMES)
    objects = [
        {"id": 1, "name": "liver", "prompts": [{"frame": 0, "points": [[30, 20, 1], [5, 5, 0]]}]},
        {"id": 7, "name": "hook", "prompts": [{"frame": 2, "box": [10, 8, 40, 30]}]},
    ]
    (folder / "prompts.json").write_text(json.dumps({"version": 1, "objects": objects}))
    return folder


@pytest.fixture(scope="session")
def monai(a_place: Path) -> MonaiCommand:
    """Return a function that runs ``python -m monai.bundle`` in `a_place`."""

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "monai.bundle", *map(str, words)],
            cwd=a_place, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return call


def run_words(bundle: Path, config: str = "inference.json") -> list[str]:
    """Return the first words of the command that runs a bundle."""
    path = bundle / "configs" / config
    return ["run", "--config_file", str(path), "--bundle_root", str(bundle)]
