"""Large networks without their weights."""

from __future__ import annotations

from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from torch.overrides import TorchFunctionMode


class _RealNumbers(TorchFunctionMode):
    """Keeps real what networks compute with while they are built (drop path rates)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def skeleton(config: DictConfig | ListConfig) -> Any:
    """The network that a configuration describes; its tensors have shapes but no memory."""
    with torch.device("meta"), _RealNumbers():
        return instantiate(config, _recursive_=True)
