"""MONAI's `Inferer` for streamed video."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.inferers import Inferer

from surgsam2.errors import InputError
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.settings import parse
from surgsam2.tracking.options import Direction
from surgsam2.tracking.segment import segment_video


class VideoInferer(Inferer):
    """Tracks prompted objects through a video; frames come one at a time.

    Args:
        direction: from each object's first prompt on (`forward`), up to its last
            (`backward`), or `both`.
        start, stop: frames ``start <= index < stop``; None is where there are masks.
        allow_overlap: let masks of different objects share pixels.
        fill_holes: fill holes of up to this many low-resolution pixels.

    Raises:
        InputError: an argument of a wrong type, or no such direction.
    """

    def __init__(
        self,
        direction: str = "forward",
        start: int | None = None,
        stop: int | None = None,
        allow_overlap: bool = False,
        fill_holes: int = 0,
    ) -> None:
        self.direction: Direction = parse(Direction, direction, "direction")
        self.start: int | None = parse(int | None, start, "start")
        self.stop: int | None = parse(int | None, stop, "stop")
        self.allow_overlap: bool = parse(bool, allow_overlap, "allow_overlap")
        self.fill_holes: int = parse(int, fill_holes, "fill_holes")

    def __call__(
        self,
        inputs: Any,
        network: Any,
        prompts: PromptSet | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Iterator[FrameResult] | torch.Tensor:
        """The results of a video, each computed when asked for; see `segment_video`.

        Args:
            inputs: from `open_video`, or anything it accepts. A tensor of pictures is given
                to the network as it is, as MONAI's `SimpleInferer` does.
            network: a `SurgSAM2Model` for a video, any module for a tensor.
            prompts: what to segment in a video.

        Raises:
            InputError: no prompts for a video; otherwise as `segment_video`.
        """
        if isinstance(inputs, torch.Tensor):
            return network(inputs)
        if prompts is None:
            raise InputError("prompts are needed to segment a video")
        return segment_video(
            network,
            inputs,
            prompts,
            self.start,
            self.stop,
            self.direction,
            allow_overlap=self.allow_overlap,
            fill_holes=self.fill_holes,
        )
