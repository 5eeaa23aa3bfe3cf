"""The network that a run starts with."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from sam2.modeling.sam.transformer import RoPEAttention
from torch import nn

from surgsam2.errors import CheckpointError
from surgsam2.model.build import locate
from surgsam2.model.builder import build_network
from surgsam2.model.checkpoint import infer_config, load_state, read_checkpoint
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.training.config import TrainConfig

logger = logging.getLogger(__name__)


def start_network(
    config: TrainConfig, weights: Path | None = None
) -> tuple[SurgSAM2Network, DictConfig, str]:
    """Build the network with its first weights, on the CPU.

    Args:
        config: names the weights and the configuration of the network.
        weights: checkpoint of the stage before; None starts from what `config` names.

    Returns:
        The network, its resolved configuration and that configuration's name.

    Raises:
        InputError: the configuration cannot be used.
        CheckpointError: the weights are missing, damaged or of another network.
    """
    name, path, size = config.network, weights, config.image_size
    if path is None and not config.from_scratch:
        path, named, own_size = locate(config.model)
        if path is None:
            raise CheckpointError("the built-in model has no weights yet to start from")
        if name is None:
            name, size = named, own_size if size is None else size
    state = read_checkpoint(path) if path is not None else None
    if name is None:
        assert state is not None
        name = infer_config(state, path or "")
    resolved = load_config(name, size)
    network = build_network(resolved, name, SurgSAM2Network, seed=config.seed)
    if state is not None:
        assert path is not None
        load_state(network, state, path=path, config_name=name)
    elif config.presence_bias is not None:
        _raise_presence(network, config.presence_bias)
    if config.rollout.dropout is not None:
        set_dropout(network.memory_attention, config.rollout.dropout)
    logger.info("%s from %s", name, path or "random weights")
    return network, OmegaConf.create(resolved), name


def set_dropout(module: nn.Module, probability: float) -> None:
    """Set the dropout of every dropout layer and attention inside `module`."""
    for child in module.modules():
        if isinstance(child, nn.Dropout):
            child.p = probability
        elif isinstance(child, RoPEAttention):
            child.dropout_p = probability


@torch.no_grad()
def _raise_presence(network: SurgSAM2Network, bias: float) -> None:
    """Add `bias` to the presence logits of a network, in place."""
    head = network.sam_mask_decoder.pred_obj_score_head
    last = [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
    last.bias.add_(bias)
