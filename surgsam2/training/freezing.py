"""Which parts of the network are trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from surgsam2.errors import InputError
from surgsam2.training.config import FreezeConfig

_PARTS = {
    "image_encoder": "image_encoder.",
    "prompt_encoder": "sam_prompt_encoder.",
    "mask_decoder": "sam_mask_decoder.",
}
_INNER = {"trunk": "image_encoder.trunk.", "memory_encoder": "memory_encoder."}
"""Parts of the parts, which can be frozen alone."""


def resolve_freezing(config: FreezeConfig, network: str) -> FreezeConfig:
    """Return the configuration with the image encoder decided by the network's name."""
    if config.image_encoder is not None:
        return config
    return replace(config, image_encoder=Path(network).name.startswith(("sam2", "surgsam2")))


def part_of(name: str) -> str:
    """Return the part that a parameter belongs to: a field of `FreezeConfig`."""
    return next((part for part, prefix in _PARTS.items() if name.startswith(prefix)), "memory")


def apply_freezing(network: nn.Module, config: FreezeConfig) -> list[str]:
    """Set which parameters have gradients and return the names of those that do.

    Raises:
        InputError: everything is frozen.
    """
    trained = []
    for name, parameter in network.named_parameters():
        inner = any(getattr(config, k) and name.startswith(v) for k, v in _INNER.items())
        parameter.requires_grad_(not (getattr(config, part_of(name)) or inner))
        if parameter.requires_grad:
            trained.append(name)
    if not trained:
        raise InputError("freeze leaves nothing to train; set one of its parts to false")
    return trained
