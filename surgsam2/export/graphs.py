"""The graphs of an export: which steps they are, for what, and their inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass

from surgsam2.export import steps
from surgsam2.export.tensors import Tensor, describe_tensors
from surgsam2.model.network import SurgSAM2Network


@dataclass(frozen=True)
class Graph:
    """One file of the export."""

    name: str
    purpose: str
    step: type[steps.Step]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def describe_graphs(network: SurgSAM2Network) -> list[Graph]:
    """All graphs of a network, in the order in which a frame needs them."""
    known = describe_tensors(network)

    def tensors(names: str, **lengths: int) -> tuple[Tensor, ...]:
        return tuple(known[name].with_lengths(**lengths) for name in names.split())

    features, finer, answer = "features", "high_res_0 high_res_1", "low_res pointer presence iou"
    return [
        Graph(
            "image_encoder",
            "every frame, first",
            steps.ImageEncoder,
            tensors("image"),
            tensors(f"{features} {finer}"),
        ),
        Graph(
            "click_decoder",
            "an object prompted with a single click",
            steps.PointDecoder,
            tensors(f"{features} {finer} points labels", points=1),
            tensors(answer, objects=1),
        ),
        Graph(
            "points_decoder",
            "an object prompted with a box, several clicks or both: 2 points or more",
            steps.PointDecoder,
            tensors(f"{features} {finer} points labels"),
            tensors(answer, objects=1),
        ),
        Graph(
            "mask_prompt_decoder",
            "an object prompted with a mask",
            steps.MaskPromptDecoder,
            tensors(f"{features} {finer} mask"),
            tensors(answer, objects=1),
        ),
        Graph(
            "memory_attention",
            "tracked objects; those of one call have equally many memories and pointers",
            steps.MemoryAttention,
            tensors(f"{features} memory_maps map_ages pointers pointer_times"),
            tensors("conditioned"),
        ),
        Graph(
            "mask_decoder",
            "tracked objects, after memory_attention",
            steps.MaskDecoder,
            tensors(f"conditioned {finer}"),
            tensors(answer),
        ),
        Graph(
            "memory_encoder",
            "all objects, last: what the frame leaves in their memory",
            steps.MemoryEncoder,
            tensors(f"{features} low_res presence prompted"),
            tensors("memory_map"),
        ),
    ]
