"""The CUDA backend: sam2's modules, each step of a frame as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from surgsam2.model.backend import Backend, Sam2Backend
from surgsam2.model.base_network import BaseNetwork
from surgsam2.model.cuda.graphs import CudaGraphs, CudaRecorder, Function, GraphCache, Recorder
from surgsam2.model.frame_data import Decoded, EncodedMemories, ImageFeatures


class StepGraphs:
    """The graphs of a network's four steps.

    The image encoder may run beside the others, so each step has a recorder of its own.

    Args:
        network: the network.
        recorder: makes the recorder of a step.
        required: whether it is an error that a graph cannot be captured.
    """

    def __init__(
        self, network: BaseNetwork, recorder: Callable[[], Recorder], *, required: bool = False
    ) -> None:
        self._weights = _Weights(network)
        self.image_encoder = GraphCache("image encoder", recorder(), required=required)
        self.memory_attention = GraphCache("memory attention", recorder(), required=required)
        self.mask_decoder = GraphCache("mask decoder", recorder(), required=required)
        self.memory_encoder = GraphCache("memory encoder", recorder(), required=required)

    def caches(self) -> list[GraphCache]:
        """Return the graphs of every step."""
        return [
            self.image_encoder,
            self.memory_attention,
            self.mask_decoder,
            self.memory_encoder,
        ]

    def drop_if_moved(self, network: BaseNetwork) -> None:
        """Drop the graphs if the weights lie elsewhere now; their values may change."""
        if not self._weights.are_in_place():
            self._weights = _Weights(network)
            for cache in self.caches():
                cache.clear()


_graphs: WeakKeyDictionary[BaseNetwork, StepGraphs] = WeakKeyDictionary()


def graphs_of(network: BaseNetwork, device: torch.device, choice: CudaGraphs) -> StepGraphs:
    """Return the graphs of a network on a CUDA device; they live as long as the network."""
    graphs = _graphs.get(network)
    if graphs is None:
        graphs = StepGraphs(network, lambda: CudaRecorder(device), required=choice == "on")
        _graphs[network] = graphs
    graphs.drop_if_moved(network)
    return graphs


def can_use_graphs(x: Tensor) -> bool:
    """Return whether a call with `x` can be a graph: it is on a CUDA device, without gradients."""
    return (
        x.device.type == "cuda"
        and torch.cuda.is_available()
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.cuda.is_current_stream_capturing()
    )


class CudaBackend(Backend):
    """Computes the steps by replaying what `Sam2Backend` does.

    Args:
        network: the network whose weights are used.
        graphs: the network's graphs.
    """

    def __init__(self, network: BaseNetwork, graphs: StepGraphs) -> None:
        super().__init__(network)
        self._graphs = graphs
        self._plain = Sam2Backend(network)

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Compute the features of a (1, 3, S, S) float32 normalised image."""

        def step(images: Tensor) -> list[Tensor]:
            features = self._plain.encode_image(images)
            return [features.tokens, features.position, *features.high_res]

        outputs = _run(self._graphs.image_encoder, step, [images])
        side = self.network.image_size // self.network.backbone_stride
        return ImageFeatures(outputs[0], outputs[1], outputs[2:], (side, side))

    def attend_to_memory(self, features: ImageFeatures, memories: EncodedMemories) -> Tensor:
        """Condition the frame's features on the memories of B objects: (B, C, h, w)."""

        def step(tokens: Tensor, position: Tensor, *memories: Tensor) -> list[Tensor]:
            frame = ImageFeatures(tokens, position, [], features.size)
            return [self._plain.attend_to_memory(frame, EncodedMemories(*memories))]

        inputs = [features.tokens, features.position, *vars(memories).values()]
        return _run(self._graphs.memory_attention, step, inputs, features.size)[0]

    def decode_masks(
        self,
        features: ImageFeatures,
        conditioned: Tensor,
        guess: Tensor | None = None,
        *,
        multimask: bool,
    ) -> Decoded:
        """Predict the masks of B objects from their (B, C, h, w) conditioned features."""
        levels = len(features.high_res)

        def step(conditioned: Tensor, *rest: Tensor) -> list[Tensor]:
            # the decoder reads the tokens through `conditioned` only
            high_res, guesses = [*rest[:levels]], rest[levels:]
            frame = ImageFeatures(features.tokens, features.position, high_res, features.size)
            decoded = self._plain.decode_masks(frame, conditioned, *guesses, multimask=multimask)
            return list(vars(decoded).values())

        inputs = [conditioned, *features.high_res, *([] if guess is None else [guess])]
        settings = multimask, guess is None
        return Decoded(*_run(self._graphs.mask_decoder, step, inputs, settings))

    def encode_memory(self, features: ImageFeatures, logits: Tensor, *, prompted: bool) -> Tensor:
        """Encode the masks of B objects into spatial memories: (B, Cm, h, w)."""

        def step(tokens: Tensor, logits: Tensor) -> list[Tensor]:
            frame = ImageFeatures(tokens, features.position, [], features.size)
            return [self._plain.encode_memory(frame, logits, prompted=prompted)]

        inputs = [features.tokens, logits]
        return _run(self._graphs.memory_encoder, step, inputs, (prompted, features.size))[0]


def _run(
    cache: GraphCache, function: Function, inputs: list[Tensor], settings: Hashable = None
) -> list[Tensor]:
    """Run a step in the precision of this thread, which belongs to the graph."""
    device = inputs[0].device.type
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    precision = (enabled, dtype, torch.get_float32_matmul_precision())

    def step(*inputs: Tensor) -> list[Tensor]:
        # weights that autocast converted and kept would not belong to the graph
        with torch.autocast(device, dtype, enabled=enabled, cache_enabled=False):
            return function(*inputs)

    return cache.run(step, inputs, (settings, precision))


class _Weights:
    """Where a network's weights and modules are.

    They are listed once, because finding them takes milliseconds in a network of many modules
    and every step of a frame asks whether they are still there.
    """

    def __init__(self, network: BaseNetwork) -> None:
        modules = list(network.modules())
        self._parameters = [
            (module._parameters, name, _address(weight))
            for module in modules
            for name, weight in module._parameters.items()
        ]
        self._children = [
            (module._modules, name, child)
            for module in modules
            for name, child in module._modules.items()
        ]

    def are_in_place(self) -> bool:
        """Return whether no weight has moved and no weight or module was replaced."""
        return all(
            _address(weights.get(name)) == address for weights, name, address in self._parameters
        ) and all(modules.get(name) is child for modules, name, child in self._children)


def _address(weight: Tensor | None) -> int | None:
    return None if weight is None else weight.data_ptr()
