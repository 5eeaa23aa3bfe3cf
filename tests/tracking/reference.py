"""The yardstick: `sam2`'s own video predictor, and a slow EFP written from its definition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.sam2_video_predictor import SAM2VideoPredictor

from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet


def sam2_predictor(model: SurgSAM2Model) -> SAM2VideoPredictor:
    """`sam2`'s predictor with the model's configuration and weights."""
    config = OmegaConf.create(model.config)
    config["_target_"] = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    predictor = instantiate(config, _recursive_=True).eval()
    predictor.load_state_dict(model.network.state_dict())
    return predictor


def sam2_logits(
    model: SurgSAM2Model,
    video: np.ndarray,
    prompts: PromptSet,
    object_id: int,
    *,
    reverse: bool = False,
    form: str = "off",
    prune: int = 2,
) -> dict[int, np.ndarray]:
    """One object tracked alone: frame index -> (H, W) float32 logits."""
    predictor = sam2_predictor(model)
    if form != "off":
        _prune_slowly(predictor, form, prune)
    state = _state(predictor, model, video)
    obj = prompts.for_object(object_id)
    for prompt in obj.prompts:
        if prompt.mask is not None:
            predictor.add_new_mask(state, prompt.frame, object_id, prompt.mask)
            continue
        has_points = len(prompt.points) > 0
        predictor.add_new_points_or_box(
            state,
            prompt.frame,
            object_id,
            points=np.array(prompt.points) if has_points else None,
            labels=np.array(prompt.labels) if has_points else None,
            box=None if prompt.box is None else np.array(prompt.box),
        )
    start = obj.prompts[-1 if reverse else 0].frame
    propagated = predictor.propagate_in_video(state, start_frame_idx=start, reverse=reverse)
    return {index: logits[0, 0].numpy() for index, _, logits in propagated}


def _state(predictor: SAM2VideoPredictor, model: SurgSAM2Model, video: np.ndarray) -> Any:
    """The predictor's session, on our preprocessed frames instead of a folder of JPEGs."""
    images = torch.cat([model.preprocess(frame) for frame in video])
    height, width = video.shape[1:3]
    with mock.patch(
        "sam2.sam2_video_predictor.load_video_frames", return_value=(images, height, width)
    ):
        return predictor.init_state("in memory")


def _prune_slowly(predictor: SAM2VideoPredictor, form: str, prune: int) -> None:
    """Make the predictor attend to what is left after pruning, as DESIGN defines EFP.

    It works on what `sam2` gathered itself: the tokens of all spatial memories, in
    order, followed by those of the object pointers.
    """
    attention = predictor.memory_attention
    original = attention.forward
    bank = predictor.num_maskmem

    def forward(
        *, curr: Any, curr_pos: Any, memory: Any, memory_pos: Any, num_obj_ptr_tokens: int
    ) -> torch.Tensor:
        positions = curr[0].shape[0]
        count = (memory.shape[0] - num_obj_ptr_tokens) // positions
        frames = [memory[m * positions : (m + 1) * positions, 0] for m in range(count)]
        dropped = set(_most_similar(frames, form, prune, bank))
        keep = [
            token
            for token in range(memory.shape[0])
            if token >= count * positions or token // positions not in dropped
        ]
        return original(
            curr=curr,
            curr_pos=curr_pos,
            memory=memory[keep],
            memory_pos=memory_pos[keep],
            num_obj_ptr_tokens=num_obj_ptr_tokens,
        )

    attention.forward = forward


def _most_similar(frames: list[torch.Tensor], form: str, prune: int, bank: int) -> Iterator[int]:
    count = len(frames)
    full = prune if count >= bank else 0
    drop = {"capped": max(0, count - (bank - prune)), "full-bank": full}[form]
    last = frames[-1].double().numpy()
    scores = []
    for m in range(1, count - 1):
        score = 0.0
        for a, b in zip(frames[m].double().numpy(), last, strict=True):
            score += a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        scores.append((score, m))
    return (m for _, m in sorted(scores, reverse=True)[:drop])
