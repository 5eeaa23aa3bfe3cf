"""All the masks that the network offers for an ambiguous prompt.

SAM 2 answers a single click with several masks and keeps the one whose predicted IoU
is highest. Here all of them, to see how much a better choice would give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model
    from surgsam2.prompts import Prompt


@torch.inference_mode()
def all_masks(
    model: SurgSAM2Model, frame: np.ndarray, prompt: Prompt
) -> tuple[np.ndarray, list[float]] | None:
    """(M, H, W) bool masks and M predicted IoUs; None where the network offers only one.

    frame: (H, W, 3) uint8 RGB. prompt: points only.
    """
    if prompt.mask is not None or prompt.box is not None:
        return None
    height, width = frame.shape[:2]
    network = model.network
    scale = model.image_size / np.array([width, height], np.float32)
    points = {
        "point_coords": torch.from_numpy(prompt.points * scale)[None].to(model.device),
        "point_labels": torch.from_numpy(prompt.labels.copy())[None].to(model.device),
    }
    if not network._use_multimask(True, points):
        return None
    with model.autocast():
        features = network.encode_image(model.preprocess(frame))
        heads = network._forward_sam_heads(
            backbone_features=network._without_memory(features),
            point_inputs=points,
            high_res_features=features.high_res_for(1),
            multimask_output=True,
        )
    logits, scores = heads[0].float(), heads[2].float()
    masks = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False) > 0
    return masks[0].cpu().numpy(), [float(score) for score in scores[0]]
