"""Backends compute the four steps of a tracked frame; `Sam2Backend` calls sam2's modules."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from surgsam2.model.base_network import BaseNetwork
from surgsam2.model.frame_data import Decoded, EncodedMemories, ImageFeatures


class Backend(ABC):
    """Computes the steps of a frame with a network's weights.

    A backend holds no state beside the network, so that one is made for each call.

    Args:
        network: the network whose weights are used.
    """

    def __init__(self, network: BaseNetwork) -> None:
        self.network = network

    @abstractmethod
    def encode_image(self, images: torch.Tensor) -> ImageFeatures:
        """Compute the features of (N, 3, S, S) float32 normalised images."""

    @abstractmethod
    def attend_to_memory(self, features: ImageFeatures, memories: EncodedMemories) -> torch.Tensor:
        """Condition the frame's features on the memories of B objects: (B, C, h, w)."""

    @abstractmethod
    def decode_masks(
        self,
        features: ImageFeatures,
        conditioned: torch.Tensor,
        guess: torch.Tensor | None = None,
        *,
        multimask: bool,
    ) -> Decoded:
        """Predict the masks of B objects from their (B, C, h, w) conditioned features.

        Args:
            features: of the frame.
            conditioned: output of `attend_to_memory`.
            guess: (B, 1, 4h, 4w) float32 mask logits that are given to the decoder as a mask
                prompt; None for no prompt.
            multimask: predict several masks per object and keep the one of the highest
                predicted IoU.
        """

    @abstractmethod
    def encode_memory(
        self, features: ImageFeatures, logits: torch.Tensor, *, prompted: bool
    ) -> torch.Tensor:
        """Encode the masks of B objects into spatial memories: (B, Cm, h, w).

        Args:
            features: of the frame.
            logits: (B, 1, S, S) mask logits.
            prompted: whether the masks come from prompts on this frame.
        """


class Sam2Backend(Backend):
    """Calls sam2's own modules, on any device, in any precision, and with gradients."""

    def encode_image(self, images: torch.Tensor) -> ImageFeatures:
        """Compute the features of (N, 3, S, S) float32 normalised images."""
        output = self.network.forward_image(images)
        levels = self.network.num_feature_levels
        *high_res, coarse = output["backbone_fpn"][-levels:]
        tokens, position = (
            x.flatten(2).permute(2, 0, 1) for x in (coarse, output["vision_pos_enc"][-1])
        )
        return ImageFeatures(tokens, position, high_res, (coarse.shape[2], coarse.shape[3]))

    def attend_to_memory(self, features: ImageFeatures, memories: EncodedMemories) -> torch.Tensor:
        """Condition the frame's features on the memories of B objects: (B, C, h, w)."""
        maps, kept = memories.maps, memories.kept
        if kept.shape[1] < maps.shape[1]:
            maps = maps.gather(1, kept[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
        device = maps.device.type
        autocast = torch.is_autocast_enabled(device)
        maps = maps.to(torch.get_autocast_dtype(device) if autocast else memories.position.dtype)
        position = memories.position + memories.time[..., None]
        batch = maps.shape[0]
        conditioned = self.network.memory_attention(
            curr=[features.tokens_for(batch)],
            curr_pos=[features.position.expand(-1, batch, -1)],
            memory=torch.cat([_sequence_first(maps), memories.pointers.transpose(0, 1)]),
            memory_pos=torch.cat(
                [_sequence_first(position), memories.pointer_time.transpose(0, 1)]
            ),
            num_obj_ptr_tokens=memories.pointers.shape[1],
        )
        return conditioned.permute(1, 2, 0).unflatten(2, features.size)

    def decode_masks(
        self,
        features: ImageFeatures,
        conditioned: torch.Tensor,
        guess: torch.Tensor | None = None,
        *,
        multimask: bool,
    ) -> Decoded:
        """Predict the masks of B objects from their (B, C, h, w) conditioned features."""
        return self.network.predict_masks(
            features, conditioned, multimask=multimask, mask_inputs=guess
        )

    def encode_memory(
        self, features: ImageFeatures, logits: torch.Tensor, *, prompted: bool
    ) -> torch.Tensor:
        """Encode the masks of B objects into spatial memories: (B, Cm, h, w)."""
        mask = self.network.mask_for_memory(logits, prompted=prompted)
        image = features.map_for(logits.shape[0])
        output = self.network.memory_encoder(image, mask, skip_mask_sigmoid=True)
        maps: torch.Tensor = output["vision_features"]
        return maps


def _sequence_first(maps: torch.Tensor) -> torch.Tensor:
    """Turn (B, M, C, P) maps into SAM 2's token sequence, (M * P, B, C)."""
    return maps.permute(1, 3, 0, 2).flatten(0, 1)
