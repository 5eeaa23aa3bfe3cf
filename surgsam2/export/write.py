"""Export of a model to a folder of checked ONNX graphs with their description."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from surgsam2.errors import InputError, OutputError
from surgsam2.export.conversion import compare, to_onnx
from surgsam2.export.graphs import Graph, Tensor, describe_graphs
from surgsam2.export.rotary import without_complex_numbers
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs.report import collect_versions
from surgsam2.storage.atomic_file import write_bytes_atomically, write_text_atomically, writing
from surgsam2.storage.hashing import sha256_of

DESCRIPTION = "export.json"
DEFAULT_OPSET = 20
OPSETS = range(18, 24)
"""Versions of ONNX's operators that can be chosen."""


Progress = Callable[[str, int, int], None]
"""Called with the name of a graph, the number of graphs that are done, and that of all."""


def export_onnx(
    model: SurgSAM2Model,
    folder: str | Path,
    opset: int = DEFAULT_OPSET,
    *,
    progress: Progress = lambda graph, done, total: None,
) -> Path:
    """Write the model's graphs, each compared with PyTorch, and ``export.json``.

    Nothing is written before all graphs have passed the comparison. ``export.json`` is
    written last.

    Args:
        model: Model on any device. The graphs compute in float32.
        folder: New or empty folder.
        opset: Version of ONNX's operators, 18 to 23.
        progress: called before each graph with its name, the number of graphs that are done, and
            the number of all.

    Returns:
        The path of ``export.json``, which describes the inputs and outputs of each graph.

    Raises:
        InputError: `opset` is out of range, or the network has no high-resolution features.
        OutputError: The folder is not empty or not writable, or a graph differs from PyTorch.
    """
    folder = Path(folder)
    _check_request(model, folder, opset)
    files, descriptions = {}, []
    for graph, content, difference in _checked_graphs(model, opset, progress):
        file = f"{graph.name}.onnx"
        files[file] = content
        descriptions.append(_describe(graph, file, difference))
    description = {**_describe_model(model), "opset": opset, "graphs": descriptions}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        write_bytes_atomically(folder / file, content)
    write_text_atomically(folder / DESCRIPTION, json.dumps(description, indent=2) + "\n")
    return folder / DESCRIPTION


def _check_request(model: SurgSAM2Model, folder: Path, opset: int) -> None:
    if opset not in OPSETS:
        raise InputError(f"opset must be {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    if not model.network.use_high_res_features_in_sam:
        raise InputError(
            f"config {model.name!r} cannot be exported: use_high_res_features_in_sam is off"
        )
    with writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"cannot write {folder}: it is not an empty folder; choose another")


@torch.no_grad()
def _checked_graphs(
    model: SurgSAM2Model, opset: int, progress: Progress
) -> Iterator[tuple[Graph, bytes, float]]:
    """Yield each graph, the content of its file and its largest difference from PyTorch."""
    reference = copy.deepcopy(model.network).cpu()
    exportable = copy.deepcopy(reference)
    exportable.memory_attention = without_complex_numbers(
        reference.memory_attention, reference.sam_image_embedding_size
    )
    size = reference.image_size
    image = reference.encode_image(torch.zeros(1, 3, size, size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        graphs = list(describe_graphs(reference))
        for done, graph in enumerate(graphs):
            progress(graph.name, done, len(graphs))
            content = to_onnx(graph, graph.step(exportable, image.position), opset)
            difference = compare(graph, content, graph.step(reference, image.position))
            yield graph, content, difference


def _describe_model(model: SurgSAM2Model) -> dict[str, Any]:
    network, size = model.network, model.image_size
    return {
        "program": "surgsam2",
        "model": {
            "config": model.name,
            "checkpoint": model.checkpoint.name if model.checkpoint else None,
            "sha256": sha256_of(model.checkpoint) if model.checkpoint else None,
        },
        "versions": collect_versions()
        | {name: version(name) for name in ("onnx", "onnxscript", "onnxruntime")},
        "preprocessing": {
            "resize": [size, size],
            "filter": "bicubic, antialiased, aspect ratio not kept (Pillow: resize((w, h)))",
            "colors": "RGB, 0 to 255; the graph normalises them",
        },
        "memory": {
            "num_maskmem": network.num_maskmem,
            "max_prompted_frames": network.max_cond_frames_in_attn,
            "max_pointers": network.max_obj_ptrs_in_encoder,
            "conditioned_channels": network.conditioned_channels,
            "pointer_time_unit": network.max_obj_ptrs_in_encoder - 1,
            "pruning": {"form": model.pruning.form, "prune": model.pruning.prune},
        },
    }


def _describe(graph: Graph, file: str, difference: float) -> dict[str, Any]:
    return {
        "file": file,
        "for": graph.purpose,
        "inputs": [_describe_tensor(tensor) for tensor in graph.inputs],
        "outputs": [_describe_tensor(tensor) for tensor in graph.outputs],
        "largest_difference": difference,
    }


def _describe_tensor(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "meaning": tensor.meaning,
    }
