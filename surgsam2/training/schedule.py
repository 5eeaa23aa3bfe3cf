"""The learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch.optim.lr_scheduler import LambdaLR

from surgsam2.training.config import OptimizerConfig


def rate_at(step: int, steps: int, config: OptimizerConfig) -> float:
    """Return the factor on the learning rate at `step`: a linear rise, then half a cosine."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = min((step - config.warmup) / max(steps - config.warmup, 1), 1.0)
    low = config.final_fraction
    return low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * progress))


def make_schedule(
    optimizer: torch.optim.Optimizer, steps: int, config: OptimizerConfig, done: int = 0
) -> LambdaLR:
    """Make the schedule, which is stepped after every step of the optimizer.

    Args:
        optimizer: its learning rates are those at the start of the run.
        steps: number of steps of the whole run.
        config: names warm-up and final rate.
        done: number of steps that were done before.
    """
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return LambdaLR(optimizer, lambda step: rate_at(step, steps, config), last_epoch=done - 1)
