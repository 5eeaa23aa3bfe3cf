"""The network in the form that MONAI's tools expect: it maps an image to channels.

It serves tools that take one image: the checks of the bundle and single frames in MONAI Label.
`surgsam2.tracking` segments video.
"""

from __future__ import annotations

from typing import NoReturn

import torch
import torch.nn.functional as F

from surgsam2.errors import InputError
from surgsam2.model.build import MEAN, STD
from surgsam2.model.builder import build_network
from surgsam2.model.bundle import config_in
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.monai_bundle.clicks import clicks_of
from surgsam2.monai_bundle.command import report_in_one_line


class FrameNetwork(SurgSAM2Network):
    """The network of SAM 2 for one prompted image.

    The prompts are those of `surgsam2.monai_bundle.clicks.ClicksToMetad`, or else one positive
    click on the centre of the image. The state dict has SAM 2's own keys.
    """

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script`, which calls this; tracing works."""
        raise InputError(
            "ckpt_export cannot compile this network without tracing; add --use_trace True"
        )

    @torch.no_grad()
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits of background and object.

        Args:
            image: (B, 3, H, W) RGB from 0 to 1, of any size. Prompts in its metadata hold for
                all images of the batch.

        Returns:
            (B, 2, H, W) float32. Channel 0 is 0 everywhere and channel 1 is positive on the
            object, so that softmax gives the probabilities.

        Raises:
            InputError: MONAI's `onnx_export` calls the network.
        """
        if torch.compiler.is_exporting():
            raise InputError(
                "onnx_export cannot write this network as one graph; use surgsam2 export, which "
                "writes the network's parts and also serves for video"
            )
        clicks = clicks_of(image)
        image = image.as_subclass(torch.Tensor)  # MONAI's own class lacks some operations
        mean, std = (image.new_tensor(v)[:, None, None] for v in (MEAN, STD))
        side = self.image_size
        square = F.interpolate(image, size=(side, side), mode="bicubic", antialias=True)
        normalised = (square.clamp(0, 1) - mean) / std
        if clicks is None:
            points = image.new_full((1, 1, 2), side / 2)
            labels = torch.ones(1, 1, dtype=torch.int32, device=image.device)
        else:
            height, width = image.shape[-2:]
            scale = image.new_tensor([width, height])
            points = torch.from_numpy(clicks[0]).to(image)[None] / scale * side
            labels = torch.from_numpy(clicks[1]).to(image.device)[None]
        masks = [self._first_mask(one[None], points, labels) for one in normalised]
        logits = F.interpolate(torch.cat(masks).float(), size=image.shape[-2:], mode="bilinear")
        return torch.cat([torch.zeros_like(logits), logits], dim=1)

    def _first_mask(
        self, image: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the (1, 1, S/4, S/4) logits of one normalised image."""
        features = self.encode_image(image)
        decoded = self.decode_points(features, points, labels)
        return self.refine_prompted(features, image, decoded, points, labels).low_res


def frame_network(config: str, image_size: int | None = None, folder: str = ".") -> FrameNetwork:
    """Return a `FrameNetwork` in evaluation mode, on the CPU, without trained weights.

    In MONAI's command, such as `ckpt_export`, errors of this package are one line from then on.

    Args:
        config: name of a network configuration, or a YAML file in `folder`.
        image_size: side of the network's square input in pixels; None for the
            configuration's own.
        folder: the bundle, where `config` is a file in it.

    Raises:
        InputError, CheckpointError: as `load_config`, or a file outside of `folder`.
    """
    report_in_one_line()
    resolved = load_config(config_in(folder, config), image_size)
    return build_network(resolved, config, FrameNetwork).eval()
