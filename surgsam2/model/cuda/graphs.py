"""CUDA graphs of functions of tensors, made on demand and bounded in number.

A graph replays kernels at fixed addresses, without Python and without a launch for each of them.
Where the shapes of a function's arguments come for the first time, the function is called; when
they come again, it is captured. So what comes once, such as the first frames of a video while
memories gather, is not captured.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from surgsam2.errors import DeviceError

logger = logging.getLogger(__name__)

LIMIT = 16
"""Number of shapes that are kept; the one that was not used for the longest time goes first."""
_TOLERANCE = 0.01
"""Largest difference of a replayed value, relative to the largest value of its tensor."""
_one_capture_at_a_time = threading.Lock()

CudaGraphs = Literal["auto", "on", "off"]
"""Whether steps are replayed as CUDA graphs: where that works, always, or never."""
Function = Callable[..., list[Tensor]]
"""Takes and returns tensors, on one device, and reads no value of theirs."""


class Graph(Protocol):
    """What was captured."""

    def replay(self) -> None:
        """Compute the captured outputs again from the present values of the captured inputs."""


class Recorder(Protocol):
    """Captures the functions of one cache."""

    def in_order(self) -> AbstractContextManager[object]:
        """Return a context whose work on the device follows that of the context before."""

    def capture(self, function: Callable[[], list[Tensor]]) -> tuple[Graph, list[Tensor]]:
        """Return the graph of a function and its outputs, which replays write to."""


class CudaRecorder:
    """Captures on a CUDA device. The graphs of a recorder share memory for what is in between."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)
        self._last = torch.cuda.current_stream(device)

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """Have the current stream wait for the stream of the context before."""
        stream = torch.cuda.current_stream(self._device)
        if stream != self._last:
            stream.wait_stream(self._last)
        self._last = stream
        yield

    def capture(self, function: Callable[[], list[Tensor]]) -> tuple[Graph, list[Tensor]]:
        """Return the graph of a function and its outputs, which replays write to."""
        graph = torch.cuda.CUDAGraph()
        # other threads may go on copying and computing; after a capture that fails PyTorch does not
        # put this thread's stream back, and its own stream for captures is of one device only
        with (
            _one_capture_at_a_time,
            torch.cuda.device(self._device),
            torch.cuda.stream(torch.cuda.current_stream(self._device)),
            torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ),
        ):
            outputs = function()
        return graph, outputs


class _Captured(NamedTuple):
    """A graph with the tensors at whose addresses it reads and writes."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    graph: Graph

    def replay(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return copies of the outputs for other values of the inputs."""
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return [output.clone() for output in self.outputs]


class GraphCache:
    """Calls or replays one function of tensors.

    Args:
        name: what the function computes, in words.
        recorder: captures the function.
        required: whether it is an error that a graph cannot be captured. If not, a warning says
            so once, and the function is called from then on.
        limit: largest number of shapes that are kept.
    """

    def __init__(
        self, name: str, recorder: Recorder, *, required: bool = False, limit: int = LIMIT
    ) -> None:
        self._name = name
        self._recorder = recorder
        self._required = required
        self._limit = limit
        self._usable = True
        self._known: OrderedDict[Hashable, _Captured | None] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of graphs."""
        return sum(captured is not None for captured in self._known.values())

    def clear(self) -> None:
        """Drop the graphs, whose memory is free then."""
        with self._lock:
            self._known.clear()

    def run(self, function: Function, inputs: Sequence[Tensor], settings: Hashable) -> list[Tensor]:
        """Return the function's outputs, which belong to the caller.

        Args:
            function: the same function for the same settings.
            inputs: arguments of the function.
            settings: everything else that the result depends on but for the weights' values.

        Raises:
            DeviceError: a graph is required and cannot be captured.
        """
        if not self._usable:
            return function(*inputs)
        key = (settings, *((x.shape, x.dtype) for x in inputs))
        with self._lock, self._recorder.in_order():
            is_new = key not in self._known
            captured = self._known.setdefault(key, None)
            self._known.move_to_end(key)
            while len(self._known) > self._limit:
                self._known.popitem(last=False)
            if captured is not None:
                return captured.replay(inputs)
            expected = function(*inputs)
            if not is_new:
                self._try_to_capture(key, function, inputs, expected)
            return expected

    def _try_to_capture(
        self, key: Hashable, function: Function, inputs: Sequence[Tensor], expected: list[Tensor]
    ) -> None:
        """Capture a function and keep its graph, if a replay gives the expected outputs."""
        # an inference tensor could not be written to where frames come without inference mode
        with torch.inference_mode(False), torch.no_grad():
            own = [torch.empty_like(x).copy_(x) for x in inputs]
        try:
            graph, outputs = self._recorder.capture(lambda: function(*own))
            captured = _Captured(own, outputs, graph)
            if not all(map(_alike, captured.replay(inputs), expected)):
                raise RuntimeError("its values are not those of the step without a graph")
        except RuntimeError as error:  # CUDA's errors and a lack of memory are RuntimeErrors
            self._give_up(error)
        else:
            self._known[key] = captured

    def _give_up(self, error: RuntimeError) -> None:
        """Use no graph from now on, and say so.

        Raises:
            DeviceError: a graph is required.
        """
        self._usable = False
        self._known.clear()
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if self._required:
            raise DeviceError(
                f"cuda_graphs=on: the {self._name} cannot be captured as a CUDA graph ({reason}); "
                "free memory of the GPU, or use cuda_graphs=auto"
            ) from error
        logger.warning("the %s runs without a CUDA graph (%s)", self._name, reason)


def _alike(replayed: Tensor, expected: Tensor) -> bool:
    """Return whether a replayed tensor differs from the expected one by rounding only."""
    replayed, expected = replayed.float(), expected.float()
    scale = expected.nan_to_num(0, 0, 0).abs().amax() if expected.numel() else 0
    return bool(
        torch.isclose(
            replayed, expected, rtol=0, atol=float(_TOLERANCE * scale), equal_nan=True
        ).all()
    )
