"""SAM 2's network, with the steps of one video frame as functions of explicit arguments.

`sam2.SAM2Base` runs one object at a time and finds its memories in dictionaries of
all past frames. `SurgSAM2Network` has the same weights (state dict keys included)
and the same arithmetic, but takes the image features once per frame and any number
of objects as a batch, each with memories of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_utils import get_1d_sine_pe

from surgsam2.errors import InputError
from surgsam2.model.backend import Backend, Sam2Backend
from surgsam2.model.base_network import BaseNetwork
from surgsam2.model.cpu.backend import CpuBackend, inference_precision
from surgsam2.model.cuda.backend import CudaBackend, can_use_graphs, graphs_of
from surgsam2.model.cuda.graphs import CudaGraphs
from surgsam2.model.frame_data import Decoded, EncodedMemories, ImageFeatures, MemoryBatch
from surgsam2.model.mask_motion import MaskMotion
from surgsam2.model.overlap import mask_iou
from surgsam2.model.prompt_refinement import correct_mask, refine_mask
from surgsam2.model.pruning import EFP
from surgsam2.model.target_model import TargetModel


class SurgSAM2Network(BaseNetwork):
    """SAM 2 for streamed, multi-object inference. Built by `surgsam2.load_model`.

    Args:
        *args: as for SAM 2's network.
        mask_motion: carries masks from frame to frame beside the memories; None in SAM 2.
        target_model: finds objects by classifiers of the frame's features beside the memories;
            None in SAM 2.
        refine_prompts: whether first masks from boxes and clicks are refined by `refine_mask`.
        **arguments: as for SAM 2's network.
    """

    cuda_graphs: CudaGraphs = "auto"
    """Whether the steps are replayed as CUDA graphs on a CUDA device."""
    _compiled = False

    def __init__(
        self,
        *args: Any,
        mask_motion: MaskMotion | None = None,
        target_model: TargetModel | None = None,
        refine_prompts: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__(*args, **arguments)
        self.mask_motion = mask_motion
        self.target_model = target_model
        if target_model is not None and not self.use_high_res_features_in_sam:
            raise InputError("target_model needs use_high_res_features_in_sam")
        self.refine_prompts = refine_prompts

    @property
    def memory_channels(self) -> int:
        """Number of channels of a spatial memory."""
        extra = 0 if self.mask_motion is None else self.mask_motion.memory_channels
        return int(self.mem_dim) + extra

    @property
    def conditioned_channels(self) -> int:
        """Number of channels of a conditioned map, without the target model's values."""
        extra = 0 if self.mask_motion is None else self.mask_motion.carried_channels
        return int(self.hidden_dim) + extra

    @property
    def target_input_count(self) -> int:
        """Number of inputs of the target model's classifiers; 0 without it."""
        if self.target_model is None:
            return 0
        finer = self.hidden_dim // 4 + self.hidden_dim // 8
        return int(self.hidden_dim + 2 * finer + 1)  # the finer maps' surroundings count, too

    def compile_parts(self) -> None:
        """Compile the parts that take the time with `torch.compile`, when they first run.

        What changes while objects come and go (their number, that of their memories and of
        their pointers) is symbolic, so the number of compilations is bounded. A compiled
        network always uses `Sam2Backend`.
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

    def backend_for(self, x: torch.Tensor, frames: int = 1) -> Backend:
        """Return the backend for a call with tensors like `x`.

        Args:
            x: a tensor of the kind that the step takes; its device and dtype count, and the
                state of gradients and autocast in this thread.
            frames: number of frames that are computed together. A training batch has one
                frame per object; `CpuBackend` takes one frame at a time.
        """
        dtype = inference_precision(x)
        if dtype and frames == 1 and not self._compiled and CpuBackend.supports(self):
            return CpuBackend(self, dtype)
        graphs = self.cuda_graphs != "off" and frames == 1 and not self._compiled
        if graphs and can_use_graphs(x):
            return CudaBackend(self, graphs_of(self, x.device, self.cuda_graphs))
        return Sam2Backend(self)

    def encode_image(self, images: torch.Tensor) -> ImageFeatures:
        """Compute the features of (1, 3, S, S) float32 normalised images."""
        features = self.backend_for(images, len(images)).encode_image(images)
        if self.mask_motion is not None:
            features = replace(features, picture=self.mask_motion.picture(images))
        if self.target_model is not None:
            features = replace(features, target_inputs=self.target_model.inputs(features))
        return features

    def decode_points(
        self,
        features: ImageFeatures,
        points: torch.Tensor,
        labels: torch.Tensor,
        previous: torch.Tensor | None = None,
    ) -> Decoded:
        """Predict the masks of B objects from clicks or a box, without memory.

        Args:
            features: of the frame.
            points: (B, P, 2) float32 in the network's square input, x before y.
            labels: (B, P) int32: 1 and 0 for positive and negative clicks, 2 and 3
                for the top left and bottom right corner of a box, which only a single object has.
            previous: (B, 1, S/4, S/4) float32 logits of the masks that the clicks correct.
        """
        point_inputs = {"point_coords": points, "point_labels": labels}
        conditioned = self.without_memory(features)
        if not (torch.jit.is_tracing() or torch.compiler.is_compiling()):  # exports have B = 1
            conditioned = conditioned.expand(points.shape[0], -1, -1, -1)
        return self.predict_masks(
            features,
            conditioned,
            multimask=self._use_multimask(True, point_inputs),
            point_inputs=point_inputs,
            mask_inputs=previous,
        )

    def refine_prompted(
        self,
        features: ImageFeatures,
        picture: torch.Tensor,
        decoded: Decoded,
        points: torch.Tensor,
        labels: torch.Tensor,
        previous: torch.Tensor | None = None,
    ) -> Decoded:
        """Refine the mask of one object, in a network that does so.

        See `refine_mask` for a first mask and `correct_mask` for one that corrects another.

        Args:
            features: of the frame.
            picture: (1, 3, S, S) float32, the normalised image.
            decoded: from `decode_points`.
            points: (1, P, 2), as for `decode_points`.
            labels: (1, P), as for `decode_points`; with a previous mask only 1 and 0.
            previous: (1, 1, S/4, S/4), as for `decode_points`.
        """
        if not self.refine_prompts or torch.jit.is_tracing():  # graphs of an export leave it out
            return decoded
        side = decoded.low_res.shape[-1] / self.image_size
        found, places = decoded.low_res, points[0] * side
        if previous is None:
            refined = refine_mask(features, picture, found, places, labels[0])
        else:
            refined = correct_mask(features, picture, found, previous, places, labels[0])
        return _with_mask(decoded, refined)

    def candidate_masks(
        self, features: ImageFeatures, points: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Predict all masks that an ambiguous prompt may mean; `decode_points` keeps the best.

        Args:
            features: of the frame.
            points: as for `decode_points`.
            labels: as for `decode_points`.

        Returns:
            (M, S/4, S/4) float32 logits and (M,) predicted IoUs; None for a prompt for which
            SAM 2 predicts a single mask.
        """
        point_inputs = {"point_coords": points, "point_labels": labels}
        if not self._use_multimask(True, point_inputs):
            return None
        conditioned = self.without_memory(features)
        heads = self.run_heads(features, conditioned, multimask=True, point_inputs=point_inputs)
        return heads[0][0].float(), heads[2][0].float()

    def decode_mask(self, features: ImageFeatures, mask: torch.Tensor) -> Decoded:
        """Take a given mask, (1, 1, S, S) float32 of 0 and 1, as the prediction."""
        if not self.use_mask_input_as_output_without_sam:
            return self.predict_masks(
                features,
                self.without_memory(features),
                multimask=self._use_multimask(True, None),
                mask_inputs=mask,
            )
        return self.use_mask(features, mask)

    def attend(
        self,
        features: ImageFeatures,
        memory: MemoryBatch,
        pruning: EFP,
        max_pointer_age: int,
    ) -> torch.Tensor:
        """Condition the frame's features on each object's own memories.

        Args:
            features: of the frame; in training (P, B, C) tokens, one frame per object.
            memory: memories of B objects.
            pruning: selects the spatial memories that are attended to.
            max_pointer_age: divisor of the pointers' ages in their time encoding.

        Returns:
            (B, C, h, w) one conditioned map per object. With mask motion the channels of
            `MaskMotion.forward` follow those of the features, and with a target model those of
            `TargetModel.forward` come last, where the memory has the objects' equations.
        """
        maps, ages = memory.maps.flatten(3)[:, :, : self.mem_dim], memory.map_ages
        kept = pruning.select(maps, self.num_maskmem, memory.long_term)
        if kept.shape[1] < maps.shape[1]:
            ages = ages.gather(1, kept)
        # time encodings belong to a frame's age, so pruning does not shift them; the
        # table holds age 1 first and the prompted frames' (age 0) last
        time = self.maskmem_tpos_enc[(ages - 1) % self.num_maskmem, 0, 0]  # (B, K, Cm)
        position = self._memory_position(features.size)[0].flatten(1)  # (Cm, P)
        pointers, pointer_time = self._pointer_tokens(memory, max_pointer_age)
        memories = EncodedMemories(maps, kept, time, position, pointers, pointer_time)
        conditioned = self._backend(features).attend_to_memory(features, memories)
        beside = []
        if self.mask_motion is not None and features.picture is not None:
            previous, anchor = memory.previous, memory.anchor
            if previous is None:
                previous = memory.maps[:, -1, self.mem_dim :]
            if anchor is None:
                anchor = memory.maps[:, 0, self.mem_dim :]
            beside.append(self.mask_motion(features.picture, previous, anchor))
        inputs = features.target_inputs
        if self.target_model is not None and inputs is not None and memory.target is not None:
            beside.append(self.target_model(inputs, memory.target))
        return torch.cat([conditioned, *(x.to(conditioned.dtype) for x in beside)], dim=1)

    def decode_tracked(self, features: ImageFeatures, conditioned: torch.Tensor) -> Decoded:
        """Predict the masks of B objects from (B, C, h, w) conditioned maps, without prompts."""
        multimask = self._use_multimask(False, None)
        own, guess = conditioned[:, : self.hidden_dim], self.guess(conditioned)
        decoded = self._backend(features).decode_masks(features, own, guess, multimask=multimask)
        return self.with_motion_and_target(decoded, conditioned)

    def guess(self, conditioned: torch.Tensor) -> torch.Tensor | None:
        """Return the mask prompt of tracked objects.

        It is what the target model finds and, where motion is certain, the mask that it carried.

        Args:
            conditioned: (B, C, h, w) from `attend`.

        Returns:
            (B, 1, 4h, 4w) float32 logits; None without a target model.
        """
        carried, values = self._motion_and_target(conditioned)
        if self.target_model is None or not values.shape[1]:
            return None
        guess = self.target_model.guess(values)
        if self.mask_motion is None or not carried.shape[1]:
            return guess
        return self.mask_motion.where_certain(guess, carried)

    def encode_memory(
        self,
        features: ImageFeatures,
        decoded: Decoded,
        *,
        prompted: bool,
        conditioned: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Encode the frame's masks into (B, Cm, h, w) bfloat16 memories, as SAM 2 stores them.

        Args:
            features: of the frame.
            decoded: masks of B objects.
            prompted: whether the masks come from prompts on this frame.
            conditioned: (B, C, h, w) from `attend` for a tracked frame, in which mask motion told
                where the prompted frame's picture has gone; None for a frame that it begins at.
        """
        logits = decoded.high_res
        if prompted:  # SAM 2 encodes what the user saw: the low-resolution mask, enlarged
            logits = F.interpolate(decoded.low_res, size=logits.shape[-2:], mode="bilinear")
        maps = self._backend(features).encode_memory(features, logits, prompted=prompted)
        if self.no_obj_embed_spatial is not None:
            absent = (decoded.presence_logits <= 0)[..., None, None]
            maps = torch.where(absent, maps + self.no_obj_embed_spatial[..., None, None], maps)
        carried = None if conditioned is None else self.carried(conditioned)
        return self.with_motion_memory(maps, features, decoded, carried).to(torch.bfloat16)

    def with_motion_memory(
        self,
        maps: torch.Tensor,
        features: ImageFeatures,
        decoded: Decoded,
        carried: torch.Tensor | None,
    ) -> torch.Tensor:
        """Append what mask motion remembers of a frame, if the network has it.

        Args:
            maps: (B, Cm, h, w) memories of the memory encoder.
            features: of the frame.
            decoded: masks of B objects.
            carried: what `MaskMotion.memory` takes.
        """
        if self.mask_motion is None or features.picture is None:
            return maps
        own = self.mask_motion.memory(features.picture, decoded.low_res, carried)
        return torch.cat([maps, own.to(maps)], dim=1)

    def target_equations(self, features: ImageFeatures, decoded: Decoded) -> torch.Tensor | None:
        """Return what the target model learns of B objects from a frame, or None without one.

        Args:
            features: of the frame.
            decoded: masks of the objects.

        Returns:
            (B, N, N + 1) float32 from `TargetModel.equations`.
        """
        if self.target_model is None or features.target_inputs is None:
            return None
        return self.target_model.equations(features.target_inputs, decoded.low_res)

    def learned_targets(
        self, features: ImageFeatures, decoded: Decoded
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return `target_equations` of a tracked frame, and how much they count for each object."""
        equations = self.target_equations(features, decoded)
        if self.target_model is None or equations is None:
            return None
        return equations, self.target_model.rate(decoded)

    def with_motion_and_target(self, decoded: Decoded, conditioned: torch.Tensor) -> Decoded:
        """Combine the decoder's masks with what the target model and mask motion found.

        An object that the decoder calls absent keeps its mask. The predicted IoU of a combined mask
        is that of the decoder's mask times the IoU of the two.

        Args:
            decoded: the mask decoder's output for B objects.
            conditioned: (B, C, h, w) from `attend`; what the target model and mask motion found
                is in its last channels.
        """
        carried, values = self._motion_and_target(conditioned)
        combined = decoded.low_res
        if self.target_model is not None and values.shape[1]:
            combined = self.target_model.combine(combined, values, _most_certain(carried))
        if self.mask_motion is not None and carried.shape[1]:
            combined = self.mask_motion.combine(combined, carried)
        if combined is decoded.low_res:
            return decoded
        present = decoded.presence_logits[..., None, None] > 0
        combined = torch.where(present, combined, decoded.low_res)
        ious = decoded.ious * mask_iou(decoded.low_res, combined)[:, 0]
        return replace(_with_mask(decoded, combined), ious=ious)

    def without_doubtful(self, decoded: Decoded, conditioned: torch.Tensor) -> Decoded:
        """Let objects count as absent whose masks the target model doubts; see `TargetModel`.

        This is for what is shown. What is remembered of a frame are the masks themselves: an object
        that is told to be absent is given up by the memories more easily than it is found again.

        Args:
            decoded: B objects of a frame, with the masks that are the result.
            conditioned: (B, C, h, w) from `attend`.
        """
        carried, values = self._motion_and_target(conditioned)
        if self.target_model is None or not values.shape[1]:
            return decoded
        doubtful = self.target_model.doubtful(decoded, values, _most_certain(carried))
        return self.without_objects(decoded, doubtful)

    def carried(self, conditioned: torch.Tensor) -> torch.Tensor:
        """Return what mask motion found, of (B, C, h, w) from `attend`."""
        return self._motion_and_target(conditioned)[0]

    def _motion_and_target(self, conditioned: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what motion carried and the target model's values, each (B, 0, h, w) if none."""
        ends = [self.hidden_dim, self.conditioned_channels]
        _, carried, values = conditioned.tensor_split(ends, dim=1)
        return carried, values

    def _backend(self, features: ImageFeatures) -> Backend:
        return self.backend_for(features.tokens, features.tokens.shape[1])

    def _memory_position(self, size: tuple[int, int]) -> torch.Tensor:
        like = self.maskmem_tpos_enc.new_empty(1, self.mem_dim, *size)
        return self.memory_encoder.position_encoding(like).to(like.dtype)

    def _pointer_tokens(
        self, memory: MemoryBatch, max_pointer_age: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Split the object pointers into (B, Q, Cm) tokens, and make their time encodings."""
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


def _most_certain(carried: torch.Tensor) -> torch.Tensor:
    """Return the largest certainty of each object's motion, (B,) float32; 0 without motion."""
    if not carried.shape[1]:
        return carried.new_zeros(carried.shape[0], dtype=torch.float32)
    return MaskMotion.certainty(carried).amax(dim=(1, 2, 3))


def _with_mask(decoded: Decoded, low_res: torch.Tensor) -> Decoded:
    """Return a decoded frame with other mask logits, (B, 1, S/4, S/4)."""
    high_res = F.interpolate(low_res, size=decoded.high_res.shape[-2:], mode="bilinear")
    return replace(decoded, low_res=low_res, high_res=high_res)
