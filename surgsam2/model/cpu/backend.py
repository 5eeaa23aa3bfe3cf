"""The CPU backend: inference for one frame at a time, objects side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE

from surgsam2.model.backend import Backend
from surgsam2.model.cpu import image, mask_decoder, matmul, memory_attention, memory_encoder
from surgsam2.model.cpu.parallel import map_objects
from surgsam2.model.cpu.two_way import PositionEncoding
from surgsam2.model.frame_data import Decoded, EncodedMemories, ImageFeatures

if TYPE_CHECKING:
    from surgsam2.model.network import SurgSAM2Network


def is_inference(x: torch.Tensor) -> bool:
    """Return whether a call with `x` is float32 inference on a CPU with AVX2 or AVX-512."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and matmul.is_available()
    )


class CpuBackend(Backend):
    """Computes the steps with `surgsam2.model.cpu`, for a network built as in SAM 2."""

    @staticmethod
    def supports(network: SurgSAM2Network, x: torch.Tensor) -> bool:
        """Return whether the backend can compute the steps of `network` for tensors like `x`."""
        return (
            is_inference(x)
            and image.supports(network.image_encoder, network.image_size)
            and memory_attention.supports(network.memory_attention)
            and mask_decoder.supports(network.sam_mask_decoder)
            and memory_encoder.supports(network.memory_encoder)
            and network.fixed_no_obj_ptr
            and not network.soft_no_obj_ptr
        )

    def encode_image(self, images: torch.Tensor) -> ImageFeatures:
        """Compute the features of a (1, 3, S, S) float32 normalised image."""
        encoder = self.network.image_encoder
        maps = image.encode(encoder, self.network.sam_mask_decoder, images)
        position = encoder.neck.position_encoding(maps.coarse)
        height, width = maps.coarse.shape[2:]
        tokens, position = (x.flatten(2).permute(2, 0, 1) for x in (maps.coarse, position))
        return ImageFeatures(tokens, position, maps.finer, (height, width))

    def attend_to_memory(self, features: ImageFeatures, memories: EncodedMemories) -> torch.Tensor:
        """Condition the frame's features on the memories of B objects: (B, C, h, w)."""
        conditioned = memory_attention.attend(
            self.network.memory_attention,
            features.tokens[:, 0],
            features.position[:, 0],
            memories,
        )
        return conditioned.mT.unflatten(2, features.size)

    def decode_masks(
        self, features: ImageFeatures, conditioned: torch.Tensor, *, multimask: bool
    ) -> Decoded:
        """Predict the masks of B objects; only the chosen mask of each is computed."""
        network = self.network
        encoder = network.sam_prompt_encoder
        no_points = conditioned.new_zeros(1, 1, 2), -torch.ones(1, 1, dtype=torch.int32)
        prompt, _ = encoder(points=no_points, boxes=None, masks=None)
        position = PositionEncoding(encoder.pe_layer, features.size)
        frame = mask_decoder.FrameInputs.of(position, features.high_res)

        def decode(tokens: torch.Tensor) -> Decoded:
            tokens = tokens + encoder.no_mask_embed.weight
            mask, iou, token, presence = mask_decoder.decode(
                network.sam_mask_decoder, frame, tokens, prompt[0], multimask=multimask
            )
            mask = torch.where(presence[..., None, None] > 0, mask, NO_OBJ_SCORE)
            size = (network.image_size, network.image_size)
            enlarged = F.interpolate(mask, size=size, mode="bilinear", align_corners=False)
            pointer = torch.where(presence > 0, network.obj_ptr_proj(token), network.no_obj_ptr)
            return Decoded(mask, enlarged, pointer, presence, iou)

        objects = map_objects(decode, list(conditioned.flatten(2).mT))
        fields = zip(*(vars(decoded).values() for decoded in objects), strict=True)
        return Decoded(*(torch.cat(values) for values in fields))

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
