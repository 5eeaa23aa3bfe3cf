"""All the masks that the network offers for an ambiguous prompt.

SAM 2 answers a single click with several masks and keeps the one whose predicted IoU
is highest. Here all of them, to see how much a better choice would give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from surgsam2.tracking.postprocess import to_video_resolution

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model
    from surgsam2.prompts import Prompt


@torch.no_grad()
def all_masks(
    model: SurgSAM2Model, frame: np.ndarray, prompt: Prompt
) -> tuple[np.ndarray, list[float]] | None:
    """(M, H, W) bool masks and M predicted IoUs; None where the network offers only one.

    frame: (H, W, 3) uint8 RGB. prompt: points only.
    """
    if prompt.mask is not None or prompt.box is not None:
        return None
    height, width = frame.shape[:2]
    scale = model.image_size / np.array([width, height], np.float32)
    points = torch.from_numpy(prompt.points * scale)[None].to(model.device)
    labels = torch.from_numpy(prompt.labels.copy())[None].to(model.device)
    with model.autocast():
        features = model.network.encode_image(model.preprocess(frame))
        candidates = model.network.candidate_masks(features, points, labels)
    if candidates is None:
        return None
    logits, scores = candidates
    masks = to_video_resolution(logits[:, None], width, height) > 0
    return masks.cpu().numpy(), scores.tolist()
