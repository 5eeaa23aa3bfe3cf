"""SAM 2's network, with the steps that need no memory as public methods."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base

from surgsam2.model.frame_data import Decoded, ImageFeatures

_ABSENT = -10.0
"""Presence logit of an object that is removed from a decoded frame."""


class BaseNetwork(SAM2Base):
    """Gives typed results and explicit arguments to methods that SAM2Base keeps to itself."""

    def mask_for_memory(self, logits: torch.Tensor, *, prompted: bool) -> torch.Tensor:
        """Turn (B, 1, S, S) mask logits into the memory encoder's input of the same shape."""
        binary = prompted and self.binarize_mask_from_pts_for_mem_enc
        mask = (logits > 0).float() if binary else logits.sigmoid()
        return mask * self.sigmoid_scale_for_mem_enc + self.sigmoid_bias_for_mem_enc

    def predict_masks(
        self,
        features: ImageFeatures,
        conditioned: torch.Tensor,
        *,
        multimask: bool,
        **prompts: Any,
    ) -> Decoded:
        """Run SAM 2's prompt encoder and mask decoder.

        Args:
            features: of the frame.
            conditioned: (B, C, h, w) maps, from `attend` or `without_memory`.
            multimask: predict several masks per object and keep the one of the highest
                predicted IoU.
            prompts: `point_inputs` and `mask_inputs`, as SAM 2 takes them.
        """
        heads = self.run_heads(features, conditioned, multimask=multimask, **prompts)
        return _decoded(heads, multimask=multimask)

    def run_heads(
        self,
        features: ImageFeatures,
        conditioned: torch.Tensor,
        *,
        multimask: bool,
        **prompts: Any,
    ) -> tuple[torch.Tensor, ...]:
        """Run SAM 2's heads as `predict_masks` does, and return their seven outputs.

        Float32 features are decoded in float32, also where autocast is enabled: the first memory
        of an object, which stays for good, then has no rounding errors.
        """
        device, exact = conditioned.device.type, conditioned.dtype == torch.float32
        with torch.autocast(device, enabled=False) if exact else nullcontext():
            return self._forward_sam_heads(
                backbone_features=conditioned,
                high_res_features=features.high_res_for(conditioned.shape[0]),
                multimask_output=multimask,
                **prompts,
            )

    def without_objects(self, decoded: Decoded, absent: torch.Tensor) -> Decoded:
        """Let objects count as absent from a frame, as if the presence head had said so.

        Args:
            decoded: B objects of a frame.
            absent: (B,) bool, the objects in question. One that is absent anyway is not changed.

        Returns:
            The frame with empty masks and the presence and pointers of absent objects for these.
        """
        removed = absent & (decoded.presence_logits[:, 0] > 0)
        row, mask = removed[:, None], removed[:, None, None, None]
        pointers = decoded.pointers
        if self.pred_obj_scores and self.use_obj_ptrs_in_encoder:
            kept = 0 if self.fixed_no_obj_ptr else pointers
            pointers = torch.where(row, kept + self.no_obj_ptr.to(pointers.dtype), pointers)
        return replace(
            decoded,
            low_res=decoded.low_res.masked_fill(mask, NO_OBJ_SCORE),
            high_res=decoded.high_res.masked_fill(mask, NO_OBJ_SCORE),
            pointers=pointers,
            presence_logits=decoded.presence_logits.masked_fill(row, _ABSENT),
        )

    def without_memory(self, features: ImageFeatures) -> torch.Tensor:
        """Return the conditioned map of a frame without memories, (B, C, h, w)."""
        return self._prepare_memory_conditioned_features(
            frame_idx=0,
            is_init_cond_frame=True,
            current_vision_feats=[features.tokens],
            current_vision_pos_embeds=[features.position],
            feat_sizes=[features.size],
            output_dict={},
            num_frames=None,
        )

    def use_mask(self, features: ImageFeatures, mask: torch.Tensor) -> Decoded:
        """Take a given mask, (1, 1, S, S) float32 of 0 and 1, as the prediction."""
        heads = self._use_mask_as_output(features.map_for(1), features.high_res_for(1), mask)
        return _decoded(heads, multimask=False)


def _decoded(heads: tuple[torch.Tensor, ...], *, multimask: bool) -> Decoded:
    """Name the outputs of SAM 2's heads and keep the predicted IoU of the chosen mask."""
    _, _, ious, low_res, high_res, pointers, presence_logits = heads
    ious = ious.amax(dim=-1) if multimask else ious[:, 0]
    return Decoded(low_res, high_res, pointers, presence_logits, ious)
