"""One frame as the network sees it, and the masks of prompts on it without memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from surgsam2.errors import InputError, PromptError
from surgsam2.model.build import Pixels, SurgSAM2Model
from surgsam2.model.frame_data import Decoded, ImageFeatures
from surgsam2.prompts import Prompt, PromptSet
from surgsam2.tracking.memory import MaskOutput

_SHARE_TO_KEEP = 0.5
"""Share of a mask's area; if the network keeps less, a warning says so."""


class EncodedFrame:
    """A resized frame, whose image features are computed once, when they are first needed.

    Args:
        model: the model, from `load_model`.
        frame: the pixels, (H, W, 3) uint8 RGB. A tensor on the model's device is used there,
            without a copy on the host.
        width: the width in pixels that the frame must have.
        height: the height in pixels that the frame must have.

    Raises:
        InputError: the frame has another size or type.
    """

    def __init__(
        self,
        model: SurgSAM2Model,
        frame: Pixels,
        width: int,
        height: int,
    ) -> None:
        check_pixels(frame, width, height)
        self._frame = frame
        self._model = model
        # For a CPU the thread that decodes resizes as well; a GPU does it beside its encoder.
        self._square = None if model.device.type == "cuda" else model.resize(frame)
        # Not a cached_property: before Python 3.12 its lock, which all frames share, would let
        # only one frame be encoded at a time.
        self._features: ImageFeatures | None = None

    @property
    def pixels(self) -> np.ndarray:
        """The frame on the host, (H, W, 3) uint8 RGB."""
        return self._frame if isinstance(self._frame, np.ndarray) else self._frame.cpu().numpy()

    def features(self) -> ImageFeatures:
        """Return the image encoder's output, computing it if that has not been done."""
        if self._features is None:
            self._features = self._model.network.encode_image(self._normalised())
        return self._features

    def _normalised(self) -> torch.Tensor:
        """Return the network's input, (1, 3, S, S) float32."""
        square = self._model.resize(self._frame) if self._square is None else self._square
        return self._model.normalise(square)

    def decode(self, prompt: Prompt, place: str) -> Decoded:
        """Return the mask of a prompt, computed without memory, as a batch of one object.

        Args:
            prompt: the prompt of one object on this frame.
            place: the object and frame in words, for messages of errors.

        Raises:
            PromptError: the prompt is a mask that vanishes at the network's resolution.
        """
        if prompt.mask is None:
            points, labels = prompt.points, prompt.labels
            if prompt.box is not None:  # SAM 2 wants the box first
                height, width, _ = self._frame.shape
                corners = prompt.box.reshape(2, 2).clip(-0.5, [width - 0.5, height - 0.5])
                points = np.concatenate([corners.astype(np.float32), points])
                labels = np.concatenate([[2, 3], labels])
            return self.decode_points(points, labels)
        mask = _network_mask(self._model, prompt.mask, place)
        return self._model.network.decode_mask(self.features(), mask)

    def decode_points(
        self, points: np.ndarray, labels: np.ndarray, previous: torch.Tensor | None = None
    ) -> Decoded:
        """Return the mask of points: `SurgSAM2Network.decode_points` and `refine_prompted`.

        Args:
            points: (P, 2) x and y in pixels of this frame.
            labels: (P,) 1 on the object, 0 outside it, 2 and 3 for the corners of a box.
            previous: (1, 1, S/4, S/4) float32 logits of the mask that the points correct.
        """
        height, width, _ = self._frame.shape
        device, size = self._model.device, self._model.image_size
        scale = torch.tensor([width, height], dtype=torch.float32)
        square = (torch.tensor(points, dtype=torch.float32) / scale * size)[None].to(device)
        kinds = torch.tensor(labels, dtype=torch.int32)[None].to(device)
        network, features = self._model.network, self.features()
        decoded = network.decode_points(features, square, kinds, previous)
        picture = self._normalised()
        return network.refine_prompted(features, picture, decoded, square, kinds, previous)


def prompted_output(decoded: Decoded, prompt: Prompt) -> MaskOutput:
    """Return the output for a prompted frame, on which a mask that was given is the result.

    Args:
        decoded: the mask decoder's output for the prompt, a batch of one object.
        prompt: the prompt.
    """
    output = MaskOutput.of(decoded, 0)
    return output if prompt.mask is None else replace(output, given=torch.tensor(prompt.mask))


def check_masks(model: SurgSAM2Model, prompts: PromptSet) -> list[str]:
    """Check how much of every mask prompt the network sees.

    Args:
        model: the model, from `load_model`.
        prompts: the prompts of all objects.

    Returns:
        A sentence for every mask of which the network keeps less than half of the area.

    Raises:
        PromptError: a mask vanishes, as `EncodedFrame.decode` would raise it later.
    """
    warnings = []
    for item in prompts:
        for prompt in item.prompts:
            if prompt.mask is not None:
                place = f"object {item.id}, frame {prompt.frame}"
                share = _share_kept(_network_mask(model, prompt.mask, place), prompt.mask)
                if share < _SHARE_TO_KEEP:
                    warnings.append(
                        f"{place}: the network keeps {share:.0%} of the mask, which is thin or "
                        "small for it, and tracks only that; a larger config keeps more"
                    )
    return warnings


def _share_kept(square: torch.Tensor, mask: np.ndarray) -> float:
    """Return the share of a mask's area that is left at the resolution of the memories.

    Args:
        square: the mask in the network's square input, (1, 1, S, S) float32 of 0 and 1.
        mask: the mask at the video's resolution, (H, W) bool.
    """
    side = square.shape[-1] // 4
    logits = F.interpolate(square * 2 - 1, size=(side, side), mode="bilinear", antialias=True)
    return float((logits > 0).float().mean()) / float(mask.mean())


def _network_mask(model: SurgSAM2Model, mask: np.ndarray, place: str) -> torch.Tensor:
    """Return a (H, W) bool mask in the network's input, (1, 1, S, S) float32 of 0 and 1.

    Args:
        model: the model.
        mask: the mask at the video's resolution.
        place: the object and frame in words, for messages.

    Raises:
        PromptError: the mask vanishes.
    """
    small = model.resize_mask(mask)
    if not small.any():
        size = model.image_size
        raise PromptError(
            f"{place}: the mask vanishes in the network's {size}x{size} input; prompt with a "
            "point or a box, or use a larger config"
        )
    return small


def check_pixels(frame: Pixels, width: int, height: int) -> None:
    """Check that a frame is (H, W, 3) uint8, an array or a tensor.

    Args:
        frame: the frame.
        width: the width that it must have, in pixels.
        height: the height that it must have, in pixels.

    Raises:
        InputError: it has another size or type.
    """
    wanted = (height, width, 3)
    if not isinstance(frame, np.ndarray | torch.Tensor):
        raise InputError(f"frame must be a {wanted} uint8 array, got {type(frame).__name__}")
    if tuple(frame.shape) != wanted or frame.dtype not in (np.uint8, torch.uint8):
        raise InputError(
            f"frame must be {wanted} uint8 RGB, got {tuple(frame.shape)} {frame.dtype}"
        )
