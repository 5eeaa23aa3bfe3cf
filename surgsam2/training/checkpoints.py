"""Files of a run: weights to use, and all that a later process needs to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from surgsam2.errors import CheckpointError
from surgsam2.storage.atomic_file import replace, temporary_beside, writing


def save_weights(network: nn.Module, path: Path, *, half: bool = False) -> None:
    """A flat state dict of plain CPU tensors, as bundles and `load_model` take it."""
    save_atomically(flat_state(network.state_dict(), half=half), path)


def flat_state(state: dict[str, torch.Tensor], *, half: bool) -> dict[str, torch.Tensor]:
    """Copies without gradients or shared storage; floats as float16 if `half`."""
    return {
        name: (t.half() if half and t.is_floating_point() else t).detach().cpu().clone()
        for name, t in state.items()
    }


def mean_state(
    state: dict[str, torch.Tensor], others: dict[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """The mean of weights with `others` that they were trained from, which have this share.

    Wortsman et al., "Model soups", arXiv:2203.05482.
    """
    return {
        name: torch.lerp(value.float(), others[name].float(), share)
        if value.is_floating_point()
        else value
        for name, value in state.items()
    }


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """Written beside and renamed: a killed process leaves the old file or the new one.

    Raises:
        OutputError: the disk refuses.
    """
    unfinished = temporary_beside(path)
    with writing(path):
        try:
            torch.save(content, unfinished)
            replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


def read_progress(path: Path) -> dict[str, Any]:
    """What a run saved to be resumed from.

    Raises:
        CheckpointError: not such a file.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(
            f"{path}: cannot be resumed from ({type(error).__name__}); delete it to start anew"
        ) from error
    if not isinstance(content, dict) or not {"network", "optimizer", "step"} <= content.keys():
        raise CheckpointError(f"{path}: is not the progress of a training run")
    return content
