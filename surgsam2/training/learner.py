"""The trained module: from a batch of clips to its loss, on one GPU or several."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from surgsam2.model.network import SurgSAM2Network
from surgsam2.training.config import TrainConfig
from surgsam2.training.losses import SegmentationLoss
from surgsam2.training.prompting import draw_plan
from surgsam2.training.rollout import ClipBatch, Rollout


class Learner(nn.Module):
    """Prompts, rollout and loss of one batch of clips."""

    def __init__(self, network: SurgSAM2Network, config: TrainConfig) -> None:
        super().__init__()
        self.network = network
        self._prompts = config.prompts
        self._rollout = Rollout(network, config.prompts, config.rollout)
        self._loss = SegmentationLoss(config.loss)

    def forward(
        self, clips: ClipBatch, rng: np.random.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the weighted loss, and its terms without their weights.

        The terms also hold `memory_std`, see `Rollout.memory_std`.
        """
        plan = draw_plan(self._prompts, clips.frames, rng)
        loss = self._loss(self._rollout(clips, plan, rng), clips.masks)
        if self._rollout.memory_std is not None:
            loss.terms["memory_std"] = self._rollout.memory_std
        return loss.total, loss.terms
