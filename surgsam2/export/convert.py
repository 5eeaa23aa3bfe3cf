"""One step of the network to one ONNX graph, by PyTorch's own exporter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnxscript  # noqa: F401 - the exporter needs it, and would say so less clearly
import torch

from surgsam2.export.graphs import Graph
from surgsam2.export.steps import Step
from surgsam2.export.tensors import Lengths

_TRACED: Lengths = {"objects": 3, "memories": 4, "pointers": 5, "points": 2}
"""None is 1, which the exporter would take for a constant."""


def to_onnx(graph: Graph, step: Step, opset: int) -> bytes:
    """The graph of a step, weights included; axes with a name have any length."""
    axes = {
        name: torch.export.Dim(name)
        for tensor in graph.inputs
        for name in tensor.named_axes.values()
    }
    shapes = tuple(
        {i: axes[name] for i, name in tensor.named_axes.items()} for tensor in graph.inputs
    )
    values = tuple(tensor.value(_TRACED) for tensor in graph.inputs)
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on torchvision, on its own deprecated calls and the like."""
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
