"""A recorder of graphs for CPU tensors that is as strict as CUDA's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

_VALUES = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.equal.default,
}
"""Operations that need a tensor's values on the host. CUDA refuses them during capture."""


class _Recording(TorchDispatchMode):
    """Keeps every operation with the tensors it read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, list[torch.Tensor]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func in _VALUES:
            raise RuntimeError(f"{func} is not permitted while a graph is captured")
        result = func(*args, **(kwargs or {}))
        outputs = [x for x in tree_flatten(result)[0] if isinstance(x, torch.Tensor)]
        self.calls.append((func, args, kwargs or {}, outputs))
        return result


class RecordedGraph:
    """Repeats operations on the tensors that they were recorded with, as kernels do."""

    def __init__(self, recording: _Recording) -> None:
        self._calls = recording.calls
        self.replays = 0

    def replay(self) -> None:
        """Compute the outputs again, where they are."""
        self.replays += 1
        for func, args, kwargs, outputs in self._calls:
            with torch.autocast("cpu", enabled=False):  # what it chose was recorded
                result = func(*args, **kwargs)
            again = [x for x in tree_flatten(result)[0] if torch.is_tensor(x)]
            for old, new in zip(outputs, again, strict=True):
                if old.data_ptr() != new.data_ptr():  # neither a view nor written in place
                    with torch.inference_mode():  # kernels write to inference tensors, too
                        old.copy_(new)


class StrictRecorder:
    """Captures functions of CPU tensors.

    Args:
        refuse: raised instead of a capture.
    """

    def __init__(self, refuse: RuntimeError | None = None) -> None:
        self.graphs: list[RecordedGraph] = []
        self._refuse = refuse

    def in_order(self) -> AbstractContextManager[object]:
        """Return a context that does nothing: CPU tensors are computed in order."""
        return nullcontext()

    def capture(
        self, function: Callable[[], list[torch.Tensor]]
    ) -> tuple[RecordedGraph, list[torch.Tensor]]:
        """Return the operations of a function and its outputs."""
        if self._refuse is not None:
            raise self._refuse
        with _Recording() as recording:
            outputs = function()
        self.graphs.append(RecordedGraph(recording))
        return self.graphs[-1], outputs
