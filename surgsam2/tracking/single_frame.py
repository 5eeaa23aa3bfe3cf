"""Prompts on a single frame: previews of their masks, and corrections of a mask by points."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from surgsam2.errors import PromptError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.prompts.checks import Points, split_points
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.encoded_frame import EncodedFrame, prompted_output
from surgsam2.tracking.memory import MaskOutput
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.postprocess import make_result, to_video_resolution

CONFIDENCE = 10.0
"""Logit of the pixels inside a given mask, as in SAM 2; pixels outside have its negative."""


class StillFrame:
    """One frame, whose masks are computed without memory of other frames.

    The image encoder runs once, when its features are first needed.

    Args:
        model: the model, from `load_model`.
        frame: the pixels, (H, W, 3) uint8 RGB.
        frame_index: index of the frame in its video.

    Raises:
        InputError: the frame has another shape or type.
    """

    def __init__(self, model: SurgSAM2Model, frame: np.ndarray, frame_index: int = 0) -> None:
        self.model = model
        self.frame_index = frame_index
        self.height, self.width = frame.shape[:2]
        self._encoded = EncodedFrame(model, frame, self.width, self.height)

    @torch.no_grad()
    def preview(self, prompts: PromptSet) -> FrameResult:
        """Return the masks that the prompts of this frame give.

        With its default options `segment_video` gives the same masks for the prompted objects.

        Raises:
            PromptError: the frame has no prompt, or one that does not fit it.
        """
        began = time.perf_counter()
        given = prompts.on_frame(self.frame_index)
        if not given:
            raise PromptError(f"there is no prompt on frame {self.frame_index}")
        prompts.validate(self.width, self.height)
        outputs = {}
        with self.model.autocast():
            for object_id, prompt in given.items():
                place = f"object {object_id}, frame {self.frame_index}"
                outputs[object_id] = prompted_output(self._encoded.decode(prompt, place), prompt)
        return self._result(outputs, began)

    @torch.no_grad()
    def refine(self, object_id: int, mask: np.ndarray, points: Points) -> FrameResult:
        """Correct an object's mask by points.

        The mask goes to the mask decoder as the previous mask of the same frame, as in SAM 2
        for points on a frame that was prompted with a mask. The built-in model then changes only
        regions that have a point (see `correct_mask`), and all other pixels of the mask stay as
        they are. The points may all be negative. To track from the new mask, make it a mask prompt
        of this frame.

        Args:
            object_id: id of the object.
            mask: the present mask, tracked or painted, (H, W) bool.
            points: (P, 3) rows of x, y in pixels and label: 1 on the object, 0 outside it.

        Returns:
            The result with this one object.

        Raises:
            PromptError: the mask is empty or of another size, there are no points, or one is
                outside the frame.
        """
        began = time.perf_counter()
        xy, labels = self._checked(object_id, mask, points)
        side = self.model.image_size // 4
        square = self.model.resize_mask(mask) * (2 * CONFIDENCE) - CONFIDENCE
        previous = F.interpolate(square, size=(side, side), mode="bilinear", antialias=True)
        with self.model.autocast():
            decoded = self._encoded.decode_points(xy, labels, previous)
        output = MaskOutput.of(decoded, 0)
        if self.model.network.refine_prompts:
            output = replace(output, given=_with_changes(mask, previous, output.low_res))
        return self._result({object_id: output}, began)

    def _checked(
        self, object_id: int, mask: np.ndarray, points: Points
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the points as (P, 2) coordinates and (P,) labels, after checks."""
        xy, labels = split_points(points)
        if not len(xy):
            raise PromptError(
                f"object {object_id}, frame {self.frame_index}: a correction needs a point"
            )
        # A prompt refuses points that are all negative unless there is a box, so that the checked
        # prompt has a box around the whole frame.
        whole_frame = (-0.5, -0.5, self.width - 0.5, self.height - 0.5)
        rows = np.column_stack([xy, labels])
        for parts in ({"points": rows, "box": whole_frame}, {"mask": mask}):
            alone = PromptSet().add(object_id=object_id, frame=self.frame_index, **parts)
            alone.validate(self.width, self.height)
        return xy, labels

    def _result(self, outputs: dict[int, MaskOutput], began: float) -> FrameResult:
        """Return masks that may overlap; `began` is a reading of `time.perf_counter`."""
        size = (self.width, self.height)
        options = TrackingOptions(allow_overlap=True)
        return make_result(self.frame_index, outputs, size, options, began)


def _with_changes(
    mask: np.ndarray, previous: torch.Tensor, corrected: torch.Tensor
) -> torch.Tensor:
    """Return a mask that is corrected where its logits have changed, and stays elsewhere.

    Args:
        mask: the mask, (H, W) bool.
        previous: (1, 1, s, s) its logits.
        corrected: (1, 1, s, s) the corrected logits.

    Returns:
        (H, W) bool on the CPU.
    """
    changed = F.max_pool2d((corrected != previous).float(), 3, 1, 1)  # with the edges beside it
    where = F.interpolate(changed, size=mask.shape, mode="nearest-exact")[0, 0] > 0
    new = to_video_resolution(corrected, mask.shape[1], mask.shape[0])[0] > 0
    return torch.where(where.cpu(), new.cpu(), torch.from_numpy(np.ascontiguousarray(mask)))
