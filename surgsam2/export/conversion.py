"""Conversion of one step of the network to an ONNX graph, and its comparison with PyTorch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnxruntime
import onnxscript  # noqa: F401 - Without it, PyTorch's exporter fails with an unclear message.
import torch

from surgsam2.errors import OutputError
from surgsam2.export.graphs import Graph, Lengths
from surgsam2.export.steps import Step

_TRACED_LENGTHS: Lengths = {"objects": 3, "memories": 4, "pointers": 5, "points": 2}
"""Lengths of the named axes while a graph is traced. The exporter takes 1 for a constant."""

_COMPARED_LENGTHS: tuple[Lengths, ...] = (
    {"objects": 1, "memories": 1, "pointers": 1, "points": 2},
    {"objects": 2, "memories": 7, "pointers": 16, "points": 5},
)


def to_onnx(graph: Graph, step: Step, opset: int) -> bytes:
    """Convert a step to an ONNX file with its weights.

    Args:
        graph: Description of the step. Axes with a name can have any length.
        step: The step.
        opset: Version of ONNX's operators.
    """
    axes = {
        name: torch.export.Dim(name)
        for tensor in graph.inputs
        for name in tensor.named_axes.values()
    }
    shapes = tuple(
        {i: axes[name] for i, name in tensor.named_axes.items()} for tensor in graph.inputs
    )
    values = tuple(tensor.value(_TRACED_LENGTHS) for tensor in graph.inputs)
    with _quiet():
        exported = torch.export.export(step, values, dynamic_shapes=shapes, strict=False)
        program = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=opset,
            input_names=[tensor.name for tensor in graph.inputs],
            output_names=[tensor.name for tensor in graph.outputs],
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


def compare(graph: Graph, content: bytes, step: Step) -> float:
    """Compare a graph in onnxruntime with PyTorch, for few and for many objects and memories.

    Args:
        graph: Description of the step.
        content: Content of the graph's file.
        step: The same step in PyTorch.

    Returns:
        The largest absolute difference of any output.

    Raises:
        OutputError: An output differs by more than its tolerance.
    """
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    largest = 0.0
    for lengths in _COMPARED_LENGTHS:
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's messages about torchvision and about its own deprecated calls."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _difference(wanted: torch.Tensor, got: np.ndarray) -> float:
    """Return the largest absolute difference, which is infinite when the shapes differ."""
    if wanted.shape != got.shape:
        return float("inf")
    return float(np.abs(wanted.numpy() - got).max())
