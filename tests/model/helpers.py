"""Large networks without their weights, and configurations with changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from sam2.modeling.sam2_base import SAM2Base
from torch.overrides import TorchFunctionMode

from surgsam2.model.builder import build_network
from surgsam2.model.configs import Config
from surgsam2.model.network import SurgSAM2Network


class _RealNumbers(TorchFunctionMode):
    """Keeps real what networks compute with while they are built (drop path rates)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def skeleton(config: Config, kind: type[SAM2Base] = SurgSAM2Network) -> Any:
    """The network that a configuration describes; its tensors have shapes but no memory."""
    with torch.device("meta"), _RealNumbers():
        return build_network(config, "skeleton", kind)


def changed(source: Path, folder: Path, change: Callable[[Config], Any]) -> Path:
    """A copy of a config file with its `model` node changed."""
    config = yaml.safe_load(source.read_text())
    change(config["model"])
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
