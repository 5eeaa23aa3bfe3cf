"""AdamW as published, with lower learning rates deeper in the trunk; Muon's steps as an option."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn

from surgsam2.training.config import OptimizerConfig
from surgsam2.training.muon import Muon

_TRUNK = "image_encoder.trunk."
_SMALLEST_MATRIX = 16
"""Fewest rows and columns of a weight that Muon moves; smaller ones are tokens and outputs."""


def make_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Make the optimizer of the parameters that have gradients."""
    depth = sum(1 for _ in _trunk_blocks(network))
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if parameter.ndim < 2 or name.endswith(".bias") else config.weight_decay
            scale = rate_scale(name, depth, config.layer_decay)
            muon = config.muon and _is_hidden_matrix(name, parameter)
            groups[scale, decay, muon].append(parameter)
    optimizer = Muon if config.muon else torch.optim.AdamW
    return optimizer(
        [
            {"params": members, "lr": config.lr * scale, "weight_decay": decay, "muon": muon}
            for (scale, decay, muon), members in groups.items()
        ],
        lr=config.lr,
        betas=config.betas,
    )


def _is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Return whether Muon moves a parameter: a matrix of some size that is no embedding."""
    large = parameter.ndim == 2 and min(parameter.shape) >= _SMALLEST_MATRIX
    return large and "embed" not in name


def rate_scale(name: str, depth: int, layer_decay: float) -> float:
    """Return the factor on the learning rate of a parameter.

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
