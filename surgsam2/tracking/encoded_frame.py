"""One frame as the network sees it, and what prompts on it give by themselves."""

from __future__ import annotations

import numpy as np
import torch

from surgsam2.errors import InputError, PromptError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.network import Decoded, ImageFeatures
from surgsam2.prompts import Prompt, PromptSet


class EncodedFrame:
    """A frame whose features are computed once, and only when they are needed.

    Args:
        model: from `load_model`.
        frame: (H, W, 3) uint8 RGB.
        width, height: what the frame's size must be, in pixels.

    Raises:
        InputError: the frame has another size or type.
    """

    def __init__(
        self,
        model: SurgSAM2Model,
        frame: np.ndarray,
        width: int,
        height: int,
    ) -> None:
        wanted = (height, width, 3)
        if not isinstance(frame, np.ndarray):
            raise InputError(f"frame must be a {wanted} uint8 array, got {type(frame).__name__}")
        if frame.shape != wanted or frame.dtype != np.uint8:
            raise InputError(f"frame must be {wanted} uint8 RGB, got {frame.shape} {frame.dtype}")
        self.frame = frame
        self._model = model
        # no cached_property: before Python 3.12 its lock lets one frame be encoded at a time
        self._square: np.ndarray | None = None
        self._features: ImageFeatures | None = None

    def resize(self) -> None:
        """Make the network's input, so that only the network is left to be run."""
        if self._square is None:
            self._square = self._model.resize(self.frame)

    def features(self) -> ImageFeatures:
        """The image encoder's output."""
        if self._features is None:
            self.resize()
            assert self._square is not None
            square = self._model.normalise(self._square)
            self._features = self._model.network.encode_image(square)
        return self._features

    def decode(self, prompt: Prompt, place: str) -> Decoded:
        """The mask of a prompt, without memory.

        Args:
            place: what the prompt is for, in words, for messages.

        Raises:
            PromptError: the prompt is a mask too small for the network to see.
        """
        if prompt.mask is None:
            points, labels = prompt.points, prompt.labels
            if prompt.box is not None:  # SAM 2 wants the box first
                points = np.concatenate([prompt.box.reshape(2, 2), points])
                labels = np.concatenate([[2, 3], labels])
            return self.decode_points(points, labels)
        mask = _network_mask(self._model, prompt.mask, place)
        return self._model.network.decode_mask(self.features(), mask)

    def decode_points(
        self, points: np.ndarray, labels: np.ndarray, previous: torch.Tensor | None = None
    ) -> Decoded:
        """As `SurgSAM2Network.decode_points`, with (P, 2) points in pixels and (P,) labels."""
        height, width, _ = self.frame.shape
        device, size = self._model.device, self._model.image_size
        scale = torch.tensor([width, height], dtype=torch.float32)
        square = torch.tensor(points, dtype=torch.float32) / scale * size
        return self._model.network.decode_points(
            self.features(),
            square[None].to(device),
            torch.tensor(labels, dtype=torch.int32)[None].to(device),
            previous,
        )


def refuse_vanishing_masks(model: SurgSAM2Model, prompts: PromptSet) -> None:
    """Before anything is computed or written: `PromptError` as `EncodedFrame.decode` raises it."""
    for item in prompts:
        for prompt in item.prompts:
            if prompt.mask is not None:
                _network_mask(model, prompt.mask, f"object {item.id}, frame {prompt.frame}")


def _network_mask(model: SurgSAM2Model, mask: np.ndarray, place: str) -> torch.Tensor:
    small = model.resize_mask(mask)
    if not small.any():
        size = model.image_size
        raise PromptError(
            f"{place}: the mask vanishes in the network's {size}x{size} input; prompt with a "
            "point or a box, or use a larger config"
        )
    return small
