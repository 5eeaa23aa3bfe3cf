"""AdamW as published: no decay on biases and norms, slower rates deeper in the trunk."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn

from surgsam2.training.config import OptimizerConfig

_TRUNK = "image_encoder.trunk."


def make_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """An optimizer of the parameters that have gradients."""
    depth = sum(1 for _ in _trunk_blocks(network))
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if parameter.ndim < 2 or name.endswith(".bias") else config.weight_decay
            groups[rate_scale(name, depth, config.layer_decay), decay].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": members, "lr": config.lr * scale, "weight_decay": decay}
            for (scale, decay), members in groups.items()
        ],
        lr=config.lr,
        betas=config.betas,
    )


def rate_scale(name: str, depth: int, layer_decay: float) -> float:
    """Factor on the learning rate of a parameter.

    The trunk's last block has `layer_decay`, the one before its square, and so on; the
    embeddings come before the first block, except the position embedding, which has none.
    """
    if not name.startswith(_TRUNK):
        return 1.0
    rest = name[len(_TRUNK) :]
    if rest.startswith("pos_embed"):
        return 1.0
    layer = int(rest.split(".")[1]) + 1 if rest.startswith("blocks.") else 0
    return float(layer_decay ** (depth + 1 - layer))


def _trunk_blocks(network: nn.Module) -> list[nn.Module]:
    return list(network.get_submodule("image_encoder.trunk.blocks").children())
