"""The ONNX graphs of an export: their steps, and the meaning and shape of their tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from surgsam2.export import steps
from surgsam2.model.network import SurgSAM2Network

Lengths = dict[str, int]
"""Name of an axis -> its length, for the axes that have a name instead of a number."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph."""

    name: str
    shape: tuple[int | str, ...]
    """Length of each axis. An axis with a name can have any length of 1 or more."""
    meaning: str
    """Description for `export.json`."""
    dtype: str = "float32"
    sample: Callable[..., torch.Tensor] = torch.randn
    """Makes a value of a given shape, with which a graph is traced and compared."""
    tolerance: float = 1e-3
    """Largest allowed difference of an output from PyTorch, relative to its largest value or to
    1, whichever is greater."""

    @property
    def named_axes(self) -> dict[int, str]:
        """Axis -> name, for the axes that have a name."""
        return {axis: name for axis, name in enumerate(self.shape) if isinstance(name, str)}

    def with_lengths(self, **lengths: int) -> Tensor:
        """Return a copy in which numbers replace some of the names."""
        shape = tuple(lengths.get(n, n) if isinstance(n, str) else n for n in self.shape)
        return replace(self, shape=shape)

    def value(self, lengths: Lengths) -> torch.Tensor:
        """Make a random value with the given lengths of the named axes."""
        return self.sample(*self.with_lengths(**lengths).shape)


@dataclass(frozen=True)
class Graph:
    """One file of the export."""

    name: str
    purpose: str
    """When a frame needs the graph, for `export.json`."""
    step: type[steps.Step]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def describe_graphs(network: SurgSAM2Network) -> list[Graph]:
    """Return all graphs of a network, in the order in which a frame needs them."""
    known = describe_tensors(network)

    def tensors(names: str, **lengths: int) -> tuple[Tensor, ...]:
        return tuple(known[name].with_lengths(**lengths) for name in names.split())

    # the small picture of a frame, and what uses it, is only there with mask motion
    picture, anchor, conditioned = " picture", " anchor_map", " conditioned"
    if network.mask_motion is None:
        picture = anchor = conditioned = ""
    features, finer, decoded = "features", "high_res_0 high_res_1", "low_res pointer presence iou"
    return [
        Graph(
            "image_encoder",
            "every frame, first",
            steps.ImageEncoder,
            tensors("image"),
            tensors(f"{features} {finer}{picture}"),
        ),
        Graph(
            "click_decoder",
            "an object prompted with a single click",
            steps.PointDecoder,
            tensors(f"{features} {finer} points labels", points=1),
            tensors(decoded, objects=1),
        ),
        Graph(
            "points_decoder",
            "an object prompted with a box, several clicks or both: 2 points or more",
            steps.PointDecoder,
            tensors(f"{features} {finer} points labels"),
            tensors(decoded, objects=1),
        ),
        Graph(
            "mask_prompt_decoder",
            "an object prompted with a mask",
            steps.MaskPromptDecoder,
            tensors(f"{features} {finer} mask"),
            tensors(decoded, objects=1),
        ),
        Graph(
            "memory_attention",
            "tracked objects; those of one call have equally many memories and pointers",
            steps.MemoryAttention,
            tensors(f"{features} memory_maps map_ages pointers pointer_times{picture}{anchor}"),
            tensors("conditioned"),
        ),
        Graph(
            "mask_decoder",
            "tracked objects, after memory_attention",
            steps.MaskDecoder,
            tensors(f"conditioned {finer}"),
            tensors(decoded),
        ),
        Graph(
            "memory_encoder",
            "all objects, last: what the frame leaves in their memory",
            steps.MemoryEncoder,
            tensors(f"{features} low_res presence prompted{picture}{conditioned}"),
            tensors("memory_map"),
        ),
    ]


def describe_tensors(network: SurgSAM2Network) -> dict[str, Tensor]:
    """Return name -> tensor for all inputs and outputs of a network's graphs."""
    size, side = network.image_size, network.sam_image_embedding_size
    channels, memory_channels = network.hidden_dim, network.memory_channels
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
        Tensor("picture", (1, 1, 8 * side, 8 * side), "a small grey picture of the frame"),
        Tensor(
            "anchor_map",
            ("objects", memory_channels, side, side),
            "each object's memory_map of its newest prompted frame",
        ),
        Tensor(
            "conditioned",
            ("objects", network.conditioned_channels, side, side),
            "the features for each object, from memory_attention; 0 for a prompted object",
        ),
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
