"""The CPU backend: inference for one frame at a time, objects side by side.

It computes in float32, or in bfloat16 where autocast asks for that. The operands of the products
of the image encoder and of memory attention are bfloat16 then, with weights that are converted
once. The residual streams, sums of products and of softmax, LayerNorm, position tables, image
features, the mask decoder, mask logits and the memory encoder are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE

from surgsam2.model.backend import Backend, Sam2Backend
from surgsam2.model.base_network import BaseNetwork
from surgsam2.model.cpu import image, mask_decoder, matmul, memory_attention, memory_encoder
from surgsam2.model.cpu.parallel import map_objects
from surgsam2.model.cpu.two_way import PositionEncoding
from surgsam2.model.frame_data import Decoded, EncodedMemories, ImageFeatures

P = ParamSpec("P")
R = TypeVar("R")


def _without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Disable autocast, which would change the chosen precision of single operations."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        # one context per call: a shared one would restore the state of another thread
        with torch.autocast("cpu", enabled=False):
            return function(*args, **kwargs)

    return wrapped


def inference_precision(x: torch.Tensor) -> torch.dtype | None:
    """Return the precision of a call with `x`, or None where the CPU backend cannot be used.

    The backend needs a CPU with AVX2 or AVX-512, and AVX-512 for bfloat16. It computes no
    gradients.
    """
    if (
        x.device.type != "cpu"
        or x.dtype != torch.float32
        or torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
    ):
        return None
    autocast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if autocast else torch.float32
    return dtype if dtype != torch.float16 and matmul.is_available(dtype) else None


class CpuBackend(Backend):
    """Computes the steps with `surgsam2.model.cpu`, for a network whose parts are SAM 2's.

    Args:
        network: the network whose weights are used.
        dtype: float32 or bfloat16, the precision of the products.
    """

    def __init__(self, network: BaseNetwork, dtype: torch.dtype) -> None:
        super().__init__(network)
        self.dtype = dtype

    @staticmethod
    def supports(network: BaseNetwork) -> bool:
        """Return whether the network is built as in SAM 2; its image encoder may be any."""
        return (
            memory_attention.supports(network.memory_attention)
            and mask_decoder.supports(network.sam_mask_decoder)
            and memory_encoder.supports(network.memory_encoder)
            and network.fixed_no_obj_ptr
            and not network.soft_no_obj_ptr
        )

    @_without_autocast
    def encode_image(self, images: torch.Tensor) -> ImageFeatures:
        """Compute the features of a (1, 3, S, S) float32 normalised image.

        SAM 2's encoder and the built-in model's are computed by `image.encode`, and any other by
        its own module.
        """
        encoder = self.network.image_encoder
        if not image.supports(encoder, self.network.image_size):
            return self._encode_by_module(images)
        maps = image.encode(encoder, self.network.sam_mask_decoder, images, self.dtype)
        position = encoder.neck.position_encoding(maps.coarse)
        height, width = maps.coarse.shape[2:]
        tokens, position = (x.flatten(2).permute(2, 0, 1) for x in (maps.coarse, position))
        return ImageFeatures(tokens, position, maps.finer, (height, width))

    def _encode_by_module(self, images: torch.Tensor) -> ImageFeatures:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            features = Sam2Backend(self.network).encode_image(images)
        return ImageFeatures(
            features.tokens.float(),
            features.position.float(),
            [level.float() for level in features.high_res],
            features.size,
        )

    @_without_autocast
    def attend_to_memory(self, features: ImageFeatures, memories: EncodedMemories) -> torch.Tensor:
        """Condition the frame's features on the memories of B objects: (B, C, h, w)."""
        conditioned = memory_attention.attend(
            self.network.memory_attention,
            features.tokens[:, 0],
            features.position[:, 0],
            memories,
            self.dtype,
        )
        return conditioned.mT.unflatten(2, features.size)

    @_without_autocast
    def decode_masks(
        self,
        features: ImageFeatures,
        conditioned: torch.Tensor,
        guess: torch.Tensor | None = None,
        *,
        multimask: bool,
    ) -> Decoded:
        """Predict the masks of B objects; only the chosen mask of each is computed."""
        network = self.network
        encoder = network.sam_prompt_encoder
        no_points = conditioned.new_zeros(1, 1, 2), -torch.ones(1, 1, dtype=torch.int32)
        prompt, dense = encoder(points=no_points, boxes=None, masks=guess)
        position = PositionEncoding(encoder.pe_layer, features.size)
        frame = mask_decoder.FrameInputs.of(position, features.high_res)
        pixels = (conditioned + dense).flatten(2).mT

        def decode(tokens: torch.Tensor) -> Decoded:
            mask, iou, token, presence = mask_decoder.decode(
                network.sam_mask_decoder, frame, tokens, prompt[0], multimask=multimask
            )
            mask = torch.where(presence[..., None, None] > 0, mask, NO_OBJ_SCORE)
            size = (network.image_size, network.image_size)
            enlarged = F.interpolate(mask, size=size, mode="bilinear", align_corners=False)
            pointer = torch.where(presence > 0, network.obj_ptr_proj(token), network.no_obj_ptr)
            return Decoded(mask, enlarged, pointer, presence, iou)

        objects = map_objects(decode, list(pixels))
        fields = zip(*(vars(decoded).values() for decoded in objects), strict=True)
        return Decoded(*(torch.cat(values) for values in fields))

    @_without_autocast
    def encode_memory(
        self, features: ImageFeatures, logits: torch.Tensor, *, prompted: bool
    ) -> torch.Tensor:
        """Encode the masks of B objects into spatial memories: (B, Cm, h, w)."""
        network, encoder = self.network, self.network.memory_encoder
        projected = memory_encoder.project_image(encoder, features.tokens[:, 0], features.size)

        def encode(logits: torch.Tensor) -> torch.Tensor:
            mask = network.mask_for_memory(logits, prompted=prompted)
            return memory_encoder.encode(encoder, projected, mask)

        return torch.cat(map_objects(encode, list(logits.split(1))))
