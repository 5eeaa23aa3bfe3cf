"""Networks without weights, networks that run sam2's modules, and changed configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from sam2.modeling.sam2_base import SAM2Base
from torch.overrides import TorchFunctionMode

from surgsam2.model.builder import build_network
from surgsam2.model.configs import Config
from surgsam2.model.cpu.backend import CpuBackend
from surgsam2.model.network import SurgSAM2Network


@contextmanager
def sam2_modules() -> Iterator[None]:
    """Have every network run sam2's own modules inside the context, in all threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CpuBackend, "supports", staticmethod(lambda _: False))
        yield


class _RealNumbers(TorchFunctionMode):
    """Keeps the values real that networks compute while they are built (drop path rates)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def skeleton(config: Config, kind: type[SAM2Base] = SurgSAM2Network) -> Any:
    """Build the network of a configuration; its tensors have shapes but no memory."""
    with torch.device("meta"), _RealNumbers():
        return build_network(config, "skeleton", kind)


def changed(source: Path, folder: Path, change: Callable[[Config], Any]) -> Path:
    """Write a copy of a config file with its `model` node changed."""
    config = yaml.safe_load(source.read_text())
    change(config["model"])
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
