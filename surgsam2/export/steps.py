"""Steps of a video frame as modules with plain tensors, from which the graphs are made.

Each step calls the function of `SurgSAM2Network` that tracking calls. A step only converts
its inputs and outputs and adds no arithmetic of its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from surgsam2.model.build import MEAN, STD
from surgsam2.model.frame_data import Decoded, ImageFeatures, MemoryBatch
from surgsam2.model.network import SurgSAM2Network
from surgsam2.model.pruning import EFP

DecodedTensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""low_res (B, 1, S/4, S/4), pointer (B, C), presence (B, 1) and iou (B,); see `Decoded`."""

_CERTAIN = 1e4
"""Magnitude of a logit whose sigmoid is exactly 0 or 1 in float32."""


class Step(nn.Module):
    """Base class of the steps.

    Args:
        network: Network on the CPU. It is not changed.
        position: (P, 1, C) position encoding of the image features, the same for every image.
    """

    position: torch.Tensor

    def __init__(self, network: SurgSAM2Network, position: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("position", position, persistent=False)
        self.eval()

    def image_features(
        self,
        features: torch.Tensor,
        *high_res: torch.Tensor,
        picture: torch.Tensor | None = None,
    ) -> ImageFeatures:
        """Return the network's own form of (1, C, h, w) features and of the finer maps."""
        size = (features.shape[2], features.shape[3])
        tokens = features.flatten(2).permute(2, 0, 1)
        return ImageFeatures(tokens, self.position, list(high_res), size, picture)


class ImageEncoder(Step):
    """Encodes (1, S, S, 3) uint8 RGB to (1, C, h, w) features and two finer maps.

    With mask motion the small picture of the frame follows.
    """

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Encode one image to its features and its finest and finer maps."""
        normal = (image.float() / 255.0 - torch.tensor(MEAN)) / torch.tensor(STD)
        encoded = self.network.encode_image(normal.permute(0, 3, 1, 2))
        high_res_0, high_res_1 = encoded.high_res
        features = encoded.tokens.permute(1, 2, 0).unflatten(2, encoded.size)
        if encoded.picture is None:
            return features, high_res_0, high_res_1
        return features, high_res_0, high_res_1, encoded.picture


class PointDecoder(Step):
    """Decodes clicks, a box or both to the mask of one object."""

    def forward(
        self,
        features: torch.Tensor,
        high_res_0: torch.Tensor,
        high_res_1: torch.Tensor,
        points: torch.Tensor,
        labels: torch.Tensor,
    ) -> DecodedTensors:
        """Decode the prompts of one object.

        Args:
            features: (1, C, h, w) features of the image.
            high_res_0: (1, C/8, 4h, 4w) finest map.
            high_res_1: (1, C/4, 2h, 2w) finer map.
            points: (1, P, 2) x and y in pixels of the network's input.
            labels: (1, P) int32 labels of the points.
        """
        image = self.image_features(features, high_res_0, high_res_1)
        return _as_tensors(self.network.decode_points(image, points, labels))


class MaskPromptDecoder(Step):
    """Encodes a given mask of one object to what its memory needs."""

    def forward(
        self,
        features: torch.Tensor,
        high_res_0: torch.Tensor,
        high_res_1: torch.Tensor,
        mask: torch.Tensor,
    ) -> DecodedTensors:
        """Encode a given mask of one object.

        Args:
            features: (1, C, h, w) features of the image.
            high_res_0: (1, C/8, 4h, 4w) finest map.
            high_res_1: (1, C/4, 2h, 2w) finer map.
            mask: (1, 1, S, S) mask, 0 outside and 1 inside.
        """
        image = self.image_features(features, high_res_0, high_res_1)
        return _as_tensors(self.network.decode_mask(image, mask))


class MemoryAttention(Step):
    """Conditions the frame's features on the memories of each object."""

    def forward(
        self,
        features: torch.Tensor,
        memory_maps: torch.Tensor,
        map_ages: torch.Tensor,
        pointers: torch.Tensor,
        pointer_times: torch.Tensor,
        picture: torch.Tensor | None = None,
        anchor_map: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Condition the features of an image on the memories of B objects.

        Args:
            features: (1, C, h, w) features of the image.
            memory_maps: (B, M, D, h, w) spatial memories.
            map_ages: (B, M) age of each in frames; 0 for a prompted frame.
            pointers: (B, N, C) object pointers.
            pointer_times: (B, N) age of each, divided by `pointer_time_unit`.
            picture: (1, 1, S/2, S/2) small picture of the image, with mask motion.
            anchor_map: (B, D, h, w) memory of the newest prompted frame, with mask motion.

        Returns:
            (B, C, h, w) features for each object.
        """
        anchor = None if anchor_map is None else anchor_map[:, self.network.mem_dim :]
        memory = MemoryBatch(memory_maps, map_ages, pointers, pointer_times, anchor=anchor)
        # The caller prunes, so that the number of memories is one axis of the graph.
        return self.network.attend(
            self.image_features(features, picture=picture), memory, EFP("off"), max_pointer_age=1
        )


class MaskDecoder(Step):
    """Decodes conditioned features to the masks of tracked objects."""

    def forward(
        self, conditioned: torch.Tensor, high_res_0: torch.Tensor, high_res_1: torch.Tensor
    ) -> DecodedTensors:
        """Decode the masks of B tracked objects.

        Args:
            conditioned: (B, C, h, w) features for each object.
            high_res_0: (1, C/8, 4h, 4w) finest map of the image.
            high_res_1: (1, C/4, 2h, 2w) finer map of the image.
        """
        # Only the finer maps of the image are read.
        image = self.image_features(conditioned[:1], high_res_0, high_res_1)
        return _as_tensors(self.network.decode_tracked(image, conditioned))


class MemoryEncoder(Step):
    """Encodes masks to spatial memories, for prompted and tracked objects in one batch."""

    def forward(
        self,
        features: torch.Tensor,
        low_res: torch.Tensor,
        presence: torch.Tensor,
        prompted: torch.Tensor,
        picture: torch.Tensor | None = None,
        conditioned: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Encode the masks of B objects.

        Args:
            features: (1, C, h, w) features of the image.
            low_res: (B, 1, S/4, S/4) mask logits.
            presence: (B, 1) presence logits.
            prompted: (B,) bool, whether the mask comes from a prompt.
            picture: (1, 1, S/2, S/2) small picture of the image, with mask motion.
            conditioned: (B, C, h, w) features for each object, with mask motion; 0 for a prompted
                one.

        Returns:
            (B, D, h, w) spatial memories.
        """
        side = self.network.image_size
        logits = F.interpolate(low_res, size=(side, side), mode="bilinear", align_corners=False)
        if self.network.binarize_mask_from_pts_for_mem_enc:
            # SAM 2 binarises the mask of a prompted frame before it encodes it.
            certain = torch.where(logits > 0, _CERTAIN, -_CERTAIN)
            logits = torch.where(prompted[:, None, None, None], certain, logits)
        # The memory depends neither on pointers nor on IoUs.
        decoded = Decoded(low_res, logits, low_res, presence, presence)
        image = self.image_features(features, picture=picture)
        return self.network.encode_memory(
            image, decoded, prompted=False, conditioned=conditioned
        ).float()


def _as_tensors(decoded: Decoded) -> DecodedTensors:
    return decoded.low_res, decoded.pointers, decoded.presence_logits, decoded.ious
