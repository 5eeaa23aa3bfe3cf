"""Files of a run: weights, and what a later process needs to resume it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from surgsam2.errors import CheckpointError, raise_if_out_of_memory
from surgsam2.storage.atomic_file import replace, temporary_beside, writing

_PROGRESS = {"network": dict, "optimizer": dict, "step": int, "best": dict, "best_epoch": int}
"""The entries of the saved progress of a run, with their types."""


def save_weights(network: nn.Module, path: Path, *, half: bool = False) -> None:
    """Save a flat state dict of plain CPU tensors, which bundles and `load_model` read."""
    save_atomically(flat_state(network.state_dict(), half=half), path)


def flat_state(state: dict[str, torch.Tensor], *, half: bool) -> dict[str, torch.Tensor]:
    """Copy a state dict without gradients or shared storage; floats become float16 if `half`."""
    return {
        name: (t.half() if half and t.is_floating_point() else t).detach().cpu().clone()
        for name, t in state.items()
    }


def mean_state(
    state: dict[str, torch.Tensor], others: dict[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """Return (1 - share) times the weights plus `share` times `others`.

    Wortsman et al., "Model soups", arXiv:2203.05482.
    """
    return {
        name: torch.lerp(value.float(), others[name].float(), share)
        if value.is_floating_point()
        else value
        for name, value in state.items()
    }


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """Save a file beside its place and rename it, so that it is the old or the new one.

    Raises:
        OutputError: the file cannot be written, for example because the disk is full.
    """
    unfinished = temporary_beside(path)
    with writing(path):
        try:
            with unfinished.open("xb") as file:
                _save(content, file)
            replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


def _save(content: dict[str, Any], file: BinaryIO) -> None:
    """Save to an open file; a file name would become part of the content."""
    try:
        torch.save(content, file)
    except RuntimeError as error:  # PyTorch hides the reason when the disk is full.
        file.flush()  # This raises the reason where it still holds.
        raise OSError(str(error).partition("\n")[0]) from error


def read_progress(path: Path) -> dict[str, Any]:
    """Read what a run saved for resuming.

    Raises:
        CheckpointError: the file is damaged, of another kind, or of another version's form.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # A damaged file can raise any exception.
        raise_if_out_of_memory(error)
        raise CheckpointError(
            f"{path}: cannot be read ({type(error).__name__}), so the run cannot be resumed; "
            "delete the file to start again"
        ) from error
    if not isinstance(content, dict) or not {"network", "optimizer", "step"} <= content.keys():
        raise CheckpointError(
            f"{path}: is not the saved progress of a training run; delete it to start again"
        )
    for name, kind in _PROGRESS.items():
        if not isinstance(content.get(name), kind):
            raise CheckpointError(
                f"{path}: was saved by another version of SurgSAM2 ({name} is no "
                f"{kind.__name__}), so the run cannot be resumed; delete the file to start the "
                "stage again, or resume with that version"
            )
    return content
