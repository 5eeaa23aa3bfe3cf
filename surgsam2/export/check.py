"""Whether a graph computes what PyTorch computes."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch

from surgsam2.errors import OutputError
from surgsam2.export.graphs import Graph
from surgsam2.export.steps import Step
from surgsam2.export.tensors import Lengths

_LENGTHS: tuple[Lengths, ...] = (
    {"objects": 1, "memories": 1, "pointers": 1, "points": 2},
    {"objects": 2, "memories": 7, "pointers": 16, "points": 5},
)


def compare(graph: Graph, content: bytes, step: Step) -> float:
    """Run a graph in onnxruntime beside PyTorch, with few and with many objects and memories.

    Args:
        content: the graph's file.
        step: the same step in PyTorch.

    Returns:
        The largest absolute difference of any output.

    Raises:
        OutputError: an output differs by more than its tolerance.
    """
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    largest = 0.0
    for lengths in _LENGTHS:
        values = [tensor.value(lengths) for tensor in graph.inputs]
        expected = step(*values)
        expected = expected if isinstance(expected, tuple) else (expected,)
        names = [tensor.name for tensor in graph.inputs]
        found = session.run(
            [tensor.name for tensor in graph.outputs],
            {name: value.numpy() for name, value in zip(names, values, strict=True)},
        )
        for tensor, wanted, got in zip(graph.outputs, expected, found, strict=True):
            difference = _difference(wanted, got)
            if not difference <= tensor.tolerance * max(1.0, float(wanted.abs().max())):
                raise OutputError(
                    f"{graph.name}: its output {tensor.name!r} differs from PyTorch by "
                    f"{difference:.2g}; nothing was written, try another opset"
                )
            largest = max(largest, difference)
    return largest


def _difference(wanted: torch.Tensor, got: np.ndarray) -> float:
    """Largest absolute difference; infinite when the shapes differ."""
    if wanted.shape != got.shape:
        return float("inf")
    return float(np.abs(wanted.numpy() - got).max())
