"""The baseline: `sam2`'s own video predictor with the engine's weights and pruning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast
from unittest import mock

import torch
from omegaconf import OmegaConf
from sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS

from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.builder import OWN_ARGUMENTS, build_network
from surgsam2.model.configs import Config
from surgsam2.model.pruning import EFP
from surgsam2.prompts import PromptSet
from surgsam2.video import Video


def make_predictor(
    model: SurgSAM2Model, *, pruned: bool = True, optimized: bool = False
) -> SAM2VideoPredictor:
    """Build `sam2`'s predictor with the model's configuration, weights and device.

    Args:
        model: The model.
        pruned: Apply the model's pruning; otherwise it attends to every memory.
        optimized: Build sam2's compiled predictor (`vos_optimized`), which takes minutes to
            warm up.
    """
    config = cast(Config, OmegaConf.to_container(model.config))
    for own in OWN_ARGUMENTS:
        config.pop(own, None)
    kind = SAM2VideoPredictorVOS if optimized else SAM2VideoPredictor
    predictor = build_network(config, model.name, kind).eval()
    predictor.load_state_dict(model.network.state_dict())
    if pruned and model.pruning.form != "off":
        _prune(predictor, model.pruning)
    return predictor.to(model.device)


def open_session(
    predictor: SAM2VideoPredictor, model: SurgSAM2Model, video: Video, frames: int
) -> Any:
    """Open a session of the predictor with the first `frames` frames loaded in advance.

    The predictor itself loads folders of JPEGs in advance. Here it receives the frames of a
    video file, decoded and preprocessed by the engine, which is the same work.
    """
    images = torch.cat([model.preprocess(frame) for _, frame in video.frames(0, frames)])
    loaded = (images, video.height, video.width)
    with mock.patch("sam2.sam2_video_predictor.load_video_frames", return_value=loaded):
        return predictor.init_state(video.source)


def propagate(
    predictor: SAM2VideoPredictor, session: Any, prompts: PromptSet
) -> Iterator[tuple[int, torch.Tensor]]:
    """Give the predictor the prompts and track the clip.

    Args:
        predictor: From `make_predictor`.
        session: From `open_session`.
        prompts: Masks on frame 0.

    Yields:
        Frame index, and (N, H, W) mask logits.
    """
    predictor.reset_state(session)
    for obj in prompts:
        for prompt in obj.prompts:
            predictor.add_new_mask(session, prompt.frame, obj.id, prompt.mask)
    for index, _, logits in predictor.propagate_in_video(session):
        yield index, logits[:, 0]


def _prune(predictor: SAM2VideoPredictor, pruning: EFP) -> None:
    """Apply Efficient Frame Pruning to the memories that `sam2` attends to."""
    attention = predictor.memory_attention
    attend = attention.forward

    def forward(
        *, curr: Any, curr_pos: Any, memory: Any, memory_pos: Any, num_obj_ptr_tokens: int
    ) -> torch.Tensor:
        positions = curr[0].shape[0]
        spatial = memory.shape[0] - num_obj_ptr_tokens
        maps = memory[:spatial, 0].unflatten(0, (-1, positions))
        kept = pruning.select(maps.transpose(1, 2)[None], predictor.num_maskmem)[0]

        def keep(tokens: torch.Tensor) -> torch.Tensor:
            frames = tokens[:spatial].unflatten(0, (-1, positions))[kept]
            return torch.cat([frames.flatten(0, 1), tokens[spatial:]])

        return attend(
            curr=curr,
            curr_pos=curr_pos,
            memory=keep(memory),
            memory_pos=keep(memory_pos),
            num_obj_ptr_tokens=num_obj_ptr_tokens,
        )

    attention.forward = forward
