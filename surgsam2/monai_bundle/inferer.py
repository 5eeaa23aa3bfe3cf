"""MONAI's `Inferer` for video whose frames come one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.inferers import Inferer

from surgsam2.errors import InputError
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.segment import segment_video


class VideoInferer(Inferer):
    """Follows prompted objects through a video.

    Args:
        options: values by the names of `surgsam2.tracking.options.TrackingOptions`.

    Raises:
        InputError: an unknown name, or a value that cannot be used.
    """

    def __init__(self, **options: Any) -> None:
        self.options = TrackingOptions.from_mapping(options)

    def __call__(
        self,
        inputs: Any,
        network: Any,
        prompts: PromptSet | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Iterator[FrameResult] | torch.Tensor:
        """Return the results of a video; each is computed when it is asked for.

        Args:
            inputs: a video from `open_video`, or anything that `open_video` accepts. A tensor of
                images, (B, 3, H, W), is given to the network as MONAI's `SimpleInferer` does.
            network: a `SurgSAM2Model` for a video, any module for a tensor.
            prompts: the prompts of a video.
            args: ignored; MONAI's interface has them.
            kwargs: ignored; MONAI's interface has them.

        Raises:
            InputError: there are no prompts for a video; otherwise as `segment_video`.
        """
        if isinstance(inputs, torch.Tensor):
            return network(inputs)
        if prompts is None:
            raise InputError("prompts are needed to segment a video")
        return segment_video(network, inputs, prompts, **self.options.as_mapping())
