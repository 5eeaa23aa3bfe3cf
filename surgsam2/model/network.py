"""SAM 2's network, with the steps of one video frame as functions of explicit arguments.

`sam2.SAM2Base` runs one object at a time and finds its memories in dictionaries of
all past frames. `SurgSAM2Network` has the same weights (state dict keys included)
and the same arithmetic, but takes the image features once per frame and any number
of objects as a batch, each with memories of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe

from surgsam2.model import cpu as fast
from surgsam2.model.cpu import image as fast_image
from surgsam2.model.cpu import mask_decoder as fast_decoder
from surgsam2.model.cpu import memory_attention as fast_attention
from surgsam2.model.cpu import memory_encoder as fast_memory
from surgsam2.model.cpu.parallel_objects import each
from surgsam2.model.cpu.two_way import Places
from surgsam2.model.pruning import EFP


@dataclass(frozen=True)
class ImageFeatures:
    """The image encoder's output for one frame; shared by all of its objects."""

    tokens: torch.Tensor
    """(P, 1, C) lowest-resolution features, P = h * w positions."""
    position: torch.Tensor
    """(P, 1, C) their position encoding."""
    high_res: list[torch.Tensor]
    """Finer feature maps for the mask decoder: (1, C0, 4h, 4w) and (1, C1, 2h, 2w)."""
    size: tuple[int, int]
    """(h, w) of the lowest-resolution map."""

    def tokens_for(self, batch: int) -> torch.Tensor:
        return self.tokens.expand(-1, batch, -1)

    def high_res_for(self, batch: int) -> list[torch.Tensor] | None:
        return [x.expand(batch, -1, -1, -1) for x in self.high_res] or None


@dataclass(frozen=True)
class Decoded:
    """The mask decoder's output for B objects of one frame."""

    low_res: torch.Tensor
    """(B, 1, S/4, S/4) float32 mask logits, S the network's image size."""
    high_res: torch.Tensor
    """(B, 1, S, S) float32 mask logits."""
    pointers: torch.Tensor
    """(B, C) object pointers."""
    presence_logits: torch.Tensor
    """(B, 1); above 0 the object is visible."""
    ious: torch.Tensor
    """(B,) predicted IoU of the chosen mask."""


@dataclass(frozen=True)
class MemoryBatch:
    """What B objects remember, all with the same number of memories."""

    maps: torch.Tensor
    """(B, M, Cm, h, w) spatial memories in SAM 2's order, M >= 1."""
    map_ages: torch.Tensor
    """(B, M) int64: 0 for a prompted frame, else how many frames back, 1 to num_maskmem - 1."""
    pointers: torch.Tensor
    """(B, K, C) object pointers."""
    pointer_ages: torch.Tensor
    """(B, K) float32: how many frames back; signed for prompted frames where SAM 2 does so."""


class SurgSAM2Network(SAM2Base):
    """SAM 2 for streamed, multi-object inference. Built by `surgsam2.load_model`."""

    _compiled = False

    def compile_parts(self) -> None:
        """Have `torch.compile` make kernels for the parts that take the time, when they first run.

        What changes while objects come and go (their number, that of their memories and of
        their pointers) is symbolic, so the number of compilations is bounded. The parts then
        run themselves, not `surgsam2.model.cpu`.
        """
        self._compiled = True
        side = self.image_size // self.backbone_stride
        for module in self.memory_attention.modules():
            if isinstance(module, RoPEAttention):  # else the first run would be compiled twice
                table = module.compute_cis(end_x=side, end_y=side)
                module.freqs_cis = table.to(module.freqs_cis.device)
        self.image_encoder.compile(dynamic=False)
        for part in (self.memory_attention, self.memory_encoder, self.sam_mask_decoder):
            part.compile(dynamic=True)

    def encode_image(self, images: torch.Tensor) -> ImageFeatures:
        """(1, 3, S, S) float32 normalised image to features."""
        encoder = self.image_encoder
        if (
            len(images) == 1
            and self.runs_fast(images)
            and fast_image.supports(encoder, self.image_size)
        ):
            maps = fast_image.encode(encoder, self.sam_mask_decoder, images)
            position = encoder.neck.position_encoding(maps.coarse)
            height, width = maps.coarse.shape[2:]
            tokens, position = (x.flatten(2).permute(2, 0, 1) for x in (maps.coarse, position))
            return ImageFeatures(tokens, position, maps.finer, (height, width))
        _, tokens, positions, sizes = self._prepare_backbone_features(self.forward_image(images))
        high_res = [
            x.permute(1, 2, 0).view(x.size(1), x.size(2), *size)
            for x, size in zip(tokens[:-1], sizes[:-1], strict=True)
        ]
        return ImageFeatures(tokens[-1], positions[-1], high_res, sizes[-1])

    def decode_points(
        self,
        features: ImageFeatures,
        points: torch.Tensor,
        labels: torch.Tensor,
        previous: torch.Tensor | None = None,
    ) -> Decoded:
        """A mask from clicks or a box, without memory.

        Args:
            points: (1, P, 2) float32 in the network's square input, x before y.
            labels: (1, P) int32: 1 and 0 for positive and negative clicks, 2 and 3
                for the top left and bottom right corner of a box.
            previous: (1, 1, S/4, S/4) float32 logits of the mask that the clicks correct.
        """
        point_inputs = {"point_coords": points, "point_labels": labels}
        return self._decode(
            features,
            self._without_memory(features),
            self._use_multimask(True, point_inputs),
            point_inputs=point_inputs,
            mask_inputs=previous,
        )

    def candidate_masks(
        self, features: ImageFeatures, points: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """All the masks that an ambiguous prompt may mean; `decode_points` keeps the best.

        Returns:
            (M, S/4, S/4) float32 logits and (M,) predicted IoUs; None for a prompt that
            SAM 2 answers with one mask.
        """
        point_inputs = {"point_coords": points, "point_labels": labels}
        if not self._use_multimask(True, point_inputs):
            return None
        heads = self._forward_sam_heads(
            backbone_features=self._without_memory(features),
            point_inputs=point_inputs,
            high_res_features=features.high_res_for(1),
            multimask_output=True,
        )
        return heads[0][0].float(), heads[2][0].float()

    def decode_mask(self, features: ImageFeatures, mask: torch.Tensor) -> Decoded:
        """The memory of a mask that was given: (1, 1, S, S) float32 of 0 and 1."""
        if not self.use_mask_input_as_output_without_sam:
            conditioned = self._without_memory(features)
            return self._decode(
                features, conditioned, self._use_multimask(True, None), mask_inputs=mask
            )
        raw = self._as_map(features.tokens, features.size)
        return self._decoded(
            self._use_mask_as_output(raw, features.high_res_for(1), mask), multimask=False
        )

    def attend(
        self,
        features: ImageFeatures,
        memory: MemoryBatch,
        pruning: EFP,
        max_pointer_age: int,
    ) -> torch.Tensor:
        """Condition the frame's features on each object's own memories.

        Args:
            max_pointer_age: divisor of the pointers' ages in their time encoding.

        Returns:
            (B, C, h, w) one conditioned map per object.
        """
        maps, ages = memory.maps.flatten(3), memory.map_ages
        kept = pruning.select(maps, self.num_maskmem)
        pruned = kept.shape[1] < maps.shape[1]
        if pruned:
            ages = ages.gather(1, kept)
        # time encodings belong to a frame's age, so pruning does not shift them; the
        # table holds age 1 first and the prompted frames' (age 0) last
        time = self.maskmem_tpos_enc[(ages - 1) % self.num_maskmem, 0, 0]  # (B, K, Cm)
        position = self._memory_position(features.size).flatten(2)  # (1, Cm, P)
        pointers, pointer_positions = self._pointer_tokens(memory, max_pointer_age)
        if self._one_frame(features) and fast_attention.supports(self.memory_attention):
            conditioned = fast_attention.attend(
                self.memory_attention,
                features.tokens[:, 0],
                features.position[:, 0],
                fast_attention.Memories(
                    maps, kept, time, position[0].t().contiguous(), pointers, pointer_positions
                ),
            ).transpose(0, 1)
            return self._as_map(conditioned, features.size)

        if pruned:
            maps = maps.gather(1, kept[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
        autocast = torch.is_autocast_enabled(maps.device.type)
        maps = maps.to(torch.get_autocast_dtype(maps.device.type) if autocast else position.dtype)
        position = position[:, None] + time[..., None]
        batch = maps.shape[0]
        conditioned = self.memory_attention(
            curr=[features.tokens_for(batch)],
            curr_pos=[features.position.expand(-1, batch, -1)],
            memory=torch.cat([_sequence_first(maps), pointers.transpose(0, 1)]),
            memory_pos=torch.cat([_sequence_first(position), pointer_positions.transpose(0, 1)]),
            num_obj_ptr_tokens=pointers.shape[1],
        )
        return self._as_map(conditioned, features.size)

    def decode_tracked(self, features: ImageFeatures, conditioned: torch.Tensor) -> Decoded:
        """Masks of B objects from their (B, C, h, w) conditioned maps, without prompts."""
        multimask = self._use_multimask(False, None)
        if (
            self._one_frame(features)
            and fast_decoder.supports(self.sam_mask_decoder)
            and self.fixed_no_obj_ptr
            and not self.soft_no_obj_ptr
        ):
            return self._decode_each(features, conditioned, multimask)
        return self._decode(features, conditioned, multimask)

    def encode_memory(
        self, features: ImageFeatures, decoded: Decoded, *, prompted: bool
    ) -> torch.Tensor:
        """(B, Cm, h, w) bfloat16 spatial memories of the frame, as SAM 2 stores them."""
        high_res = decoded.high_res
        if prompted:  # SAM 2 encodes what the user saw: the low-resolution mask, enlarged
            high_res = F.interpolate(decoded.low_res, size=high_res.shape[-2:], mode="bilinear")
        if self._one_frame(features) and fast_memory.supports(self.memory_encoder):
            encoder = self.memory_encoder
            image = fast_memory.image_share(encoder, features.tokens[:, 0], features.size)

            def encoded(logits: torch.Tensor) -> torch.Tensor:
                mask = self._mask_for_memory(logits, prompted)
                return fast_memory.encode(encoder, image, mask)

            maps = torch.cat(each(encoded, list(high_res.split(1))))
            if self.no_obj_embed_spatial is not None:
                absent = (decoded.presence_logits <= 0)[..., None, None]
                maps = torch.where(absent, maps + self.no_obj_embed_spatial[..., None, None], maps)
        else:
            maps, _ = self._encode_new_memory(
                [features.tokens_for(high_res.shape[0])],
                [features.size],
                high_res,
                decoded.presence_logits,
                is_mask_from_pts=prompted,
            )
        return maps.to(torch.bfloat16)

    def _mask_for_memory(self, high_res: torch.Tensor, prompted: bool) -> torch.Tensor:
        """Mask logits as the memory encoder wants them."""
        binary = prompted and self.binarize_mask_from_pts_for_mem_enc
        mask = (high_res > 0).float() if binary else high_res.sigmoid()
        return mask * self.sigmoid_scale_for_mem_enc + self.sigmoid_bias_for_mem_enc

    def _decode(
        self,
        features: ImageFeatures,
        conditioned: torch.Tensor,
        multimask: bool,
        **prompts: Any,
    ) -> Decoded:
        heads = self._forward_sam_heads(
            backbone_features=conditioned,
            high_res_features=features.high_res_for(conditioned.shape[0]),
            multimask_output=multimask,
            **prompts,
        )
        return self._decoded(heads, multimask)

    def _decode_each(
        self, features: ImageFeatures, conditioned: torch.Tensor, multimask: bool
    ) -> Decoded:
        """`_decode` without prompts, an object at a time; only the chosen mask is enlarged."""
        none = conditioned.new_zeros(1, 1, 2), -torch.ones(1, 1, dtype=torch.int32)
        prompt, _ = self.sam_prompt_encoder(points=none, boxes=None, masks=None)
        no_mask = self.sam_prompt_encoder.no_mask_embed.weight
        places = Places(self.sam_prompt_encoder.pe_layer, features.size)
        frame = fast_decoder.Frame.of(places, features.high_res)

        def decoded(tokens: torch.Tensor) -> Decoded:
            mask, iou, token, presence = fast_decoder.decode(
                self.sam_mask_decoder, frame, tokens + no_mask, prompt[0], multimask=multimask
            )
            mask = torch.where(presence[..., None, None] > 0, mask, NO_OBJ_SCORE)
            size = (self.image_size, self.image_size)
            enlarged = F.interpolate(mask, size=size, mode="bilinear", align_corners=False)
            pointer = torch.where(presence > 0, self.obj_ptr_proj(token), self.no_obj_ptr)
            return Decoded(mask, enlarged, pointer, presence, iou)

        parts = [vars(part).values() for part in each(decoded, list(conditioned.flatten(2).mT))]
        return Decoded(*(torch.cat(rows) for rows in zip(*parts, strict=True)))

    def runs_fast(self, x: torch.Tensor) -> bool:
        """Whether `surgsam2.model.cpu` stands in for the modules, for tensors like this one."""
        return not self._compiled and fast.usable(x)

    def _one_frame(self, features: ImageFeatures) -> bool:
        """Whether the fast functions may take them; a training batch has a frame per object."""
        return features.tokens.shape[1] == 1 and self.runs_fast(features.tokens)

    @staticmethod
    def _decoded(heads: tuple[torch.Tensor, ...], multimask: bool) -> Decoded:
        _, _, ious, low_res, high_res, pointers, presence_logits = heads
        ious = ious.amax(dim=-1) if multimask else ious[:, 0]
        return Decoded(low_res, high_res, pointers, presence_logits, ious)

    def _without_memory(self, features: ImageFeatures) -> torch.Tensor:
        return self._prepare_memory_conditioned_features(
            frame_idx=0,
            is_init_cond_frame=True,
            current_vision_feats=[features.tokens],
            current_vision_pos_embeds=[features.position],
            feat_sizes=[features.size],
            output_dict={},
            num_frames=None,
        )

    def _as_map(self, tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return tokens.permute(1, 2, 0).view(-1, self.hidden_dim, *size)

    def _memory_position(self, size: tuple[int, int]) -> torch.Tensor:
        like = self.maskmem_tpos_enc.new_empty(1, self.mem_dim, *size)
        return self.memory_encoder.position_encoding(like).to(like.dtype)

    def _pointer_tokens(
        self, memory: MemoryBatch, max_pointer_age: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, Q, Cm) tokens that the object pointers are split into, and their time encodings."""
        pointers, ages = memory.pointers, memory.pointer_ages
        if not self.use_obj_ptrs_in_encoder:
            pointers, ages = pointers[:, :0], ages[:, :0]
        if self.add_tpos_enc_to_obj_ptrs:
            dim = self.hidden_dim if self.proj_tpos_enc_in_obj_ptrs else self.mem_dim
            encoded = self.obj_ptr_tpos_proj(get_1d_sine_pe(ages / max_pointer_age, dim=dim))
        else:
            encoded = ages.new_zeros(*ages.shape, self.mem_dim)
        split = self.hidden_dim // self.mem_dim
        tokens = pointers.reshape(pointers.shape[0], -1, self.mem_dim)
        return tokens, encoded.repeat_interleave(split, dim=1)


def _sequence_first(maps: torch.Tensor) -> torch.Tensor:
    """(B, M, C, P) to SAM 2's token sequence (M * P, B, C)."""
    return maps.permute(1, 3, 0, 2).flatten(0, 1)
