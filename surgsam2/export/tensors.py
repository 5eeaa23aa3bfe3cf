"""What goes into the graphs and comes out of them, in words and in shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from surgsam2.model.network import SurgSAM2Network

Lengths = dict[str, int]
"""Lengths of the axes that have a name instead of a number."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph."""

    name: str
    shape: tuple[int | str, ...]
    """A name stands for an axis of any length of 1 or more."""
    meaning: str
    dtype: str = "float32"
    sample: Callable[..., torch.Tensor] = torch.randn
    """Makes a value of a given shape, to trace and check a graph with."""
    tolerance: float = 1e-3
    """Difference from PyTorch allowed in an output, as a part of its largest value (of 1 if
    that is less)."""

    @property
    def named_axes(self) -> dict[int, str]:
        """Name by axis, for the axes that have one."""
        return {axis: name for axis, name in enumerate(self.shape) if isinstance(name, str)}

    def with_lengths(self, **lengths: int) -> Tensor:
        """With numbers instead of some of the names."""
        shape = tuple(lengths.get(n, n) if isinstance(n, str) else n for n in self.shape)
        return replace(self, shape=shape)

    def value(self, lengths: Lengths) -> torch.Tensor:
        """A random value."""
        return self.sample(*self.with_lengths(**lengths).shape)


def describe_tensors(network: SurgSAM2Network) -> dict[str, Tensor]:
    """All inputs and outputs of a network's graphs, by name."""
    size, side = network.image_size, network.sam_image_embedding_size
    channels, memory_channels = network.hidden_dim, network.mem_dim
    oldest = network.num_maskmem - 1
    tensors = [
        Tensor("image", (1, size, size, 3), "RGB, see preprocessing", "uint8", _picture),
        Tensor("features", (1, channels, side, side), "the image encoder's main output"),
        Tensor("high_res_0", (1, channels // 8, 4 * side, 4 * side), "its finest output"),
        Tensor("high_res_1", (1, channels // 4, 2 * side, 2 * side), "its finer output"),
        Tensor(
            "points",
            (1, "points", 2),
            f"x, y in the {size} x {size} image, in pixels; the corners of a box before clicks",
            sample=lambda *shape: size * torch.rand(shape),
        ),
        Tensor(
            "labels",
            (1, "points"),
            "1 and 0: positive and negative click; 2 and 3: top left and bottom right of a box",
            "int32",
            lambda *shape: torch.randint(0, 2, shape, dtype=torch.int32),
        ),
        Tensor("mask", (1, 1, size, size), "0 outside, 1 inside", sample=_square),
        Tensor(
            "memory_maps",
            ("objects", "memories", memory_channels, side, side),
            "each object's memory_map of its prompted frames in ascending order, then of its "
            "tracked frames, oldest first",
        ),
        Tensor(
            "map_ages",
            ("objects", "memories"),
            f"0 for a prompted frame, else how many frames back, 1 to {oldest}",
            "int64",
            lambda *shape: torch.randint(0, oldest + 1, shape),
        ),
        Tensor(
            "pointers",
            ("objects", "pointers", channels),
            "each object's pointer of its prompted frames, then of its tracked frames",
        ),
        Tensor(
            "pointer_times",
            ("objects", "pointers"),
            "how many frames back, divided by pointer_time_unit",
            sample=torch.rand,
        ),
        Tensor("conditioned", ("objects", channels, side, side), "the features for each object"),
        Tensor("low_res", ("objects", 1, size // 4, size // 4), "mask logits, inside above 0"),
        Tensor("pointer", ("objects", channels), "object pointer of this frame"),
        Tensor("presence", ("objects", 1), "logit, the object is visible above 0"),
        Tensor("iou", ("objects",), "estimated IoU of the mask with the truth"),
        Tensor(
            "prompted",
            ("objects",),
            "whether the mask comes from a prompt",
            "bool",
            lambda objects: torch.arange(objects) % 2 == 0,
        ),
        Tensor(
            "memory_map",
            ("objects", memory_channels, side, side),
            "memory of this frame, rounded to bfloat16 as in SAM 2",
            tolerance=2**-7,  # the last digit of bfloat16
        ),
    ]
    return {tensor.name: tensor for tensor in tensors}


def _picture(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def _square(*shape: int) -> torch.Tensor:
    mask = torch.zeros(shape)
    quarter = shape[-1] // 4
    mask[..., quarter:-quarter, quarter:-quarter] = 1
    return mask
