"""The network in the form that MONAI's tools expect: it maps an image to channels.

It serves tools that take one image and have no prompts: the checks of the bundle and single
frames in MONAI Label. `surgsam2.tracking` segments video.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from surgsam2.model.build import MEAN, STD
from surgsam2.model.builder import build_network
from surgsam2.model.bundle import config_in
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network


class FrameNetwork(SurgSAM2Network):
    """The network of SAM 2 with one positive click on the centre of an image as its prompt.

    The state dict has SAM 2's own keys.
    """

    @torch.no_grad()
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits of background and object.

        Args:
            image: (B, 3, H, W) RGB from 0 to 1, of any size.

        Returns:
            (B, 2, H, W) float32. Channel 0 is 0 everywhere and channel 1 is positive on the
            object, so that softmax gives the probabilities.
        """
        image = image.as_subclass(torch.Tensor)  # MONAI's own class lacks some operations
        mean, std = (image.new_tensor(v)[:, None, None] for v in (MEAN, STD))
        side = self.image_size
        square = F.interpolate(image, size=(side, side), mode="bicubic", antialias=True)
        normalised = (square.clamp(0, 1) - mean) / std
        centre = image.new_full((1, 1, 2), side / 2)
        positive = torch.ones(1, 1, dtype=torch.int32, device=image.device)
        masks = [
            self.decode_points(self.encode_image(one[None]), centre, positive).low_res
            for one in normalised
        ]
        logits = F.interpolate(torch.cat(masks).float(), size=image.shape[-2:], mode="bilinear")
        return torch.cat([torch.zeros_like(logits), logits], dim=1)


def frame_network(config: str, image_size: int | None = None, folder: str = ".") -> FrameNetwork:
    """Return a `FrameNetwork` in evaluation mode, on the CPU, without trained weights.

    Args:
        config: name of a network configuration, or a YAML file in `folder`.
        image_size: side of the network's square input in pixels; None for the
            configuration's own.
        folder: the bundle, where `config` is a file in it.

    Raises:
        InputError, CheckpointError: as `load_config`, or a file outside of `folder`.
    """
    resolved = load_config(config_in(folder, config), image_size)
    return build_network(resolved, config, FrameNetwork).eval()
