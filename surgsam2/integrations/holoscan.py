"""An operator of NVIDIA Holoscan that segments a live stream on the GPU.

    class App(holoscan.core.Application):
        def compose(self):
            source = ...                               # for example AJASourceOp or a replayer
            tracker = TrackingOp(self, name="surgsam2", prompts=load_prompts("prompts.json"))
            self.add_flow(source, tracker, {("video_buffer_output", "frames")})
            self.add_flow(tracker, viewer, {("labels", "receivers")})

Frames and label images stay on the device: they are received and sent as tensors without a copy
(DLPack). See docs/deployment.md for what was tried.
"""

from __future__ import annotations

from typing import Any

import torch
from holoscan.core import Operator, OperatorSpec

from surgsam2.errors import InputError
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import PromptSet
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.postprocess import make_masks, tidy
from surgsam2.tracking.tracker import Tracker

_LARGEST_ID = 255
"""Largest object id that a pixel of the label images can hold."""


class TrackingOp(Operator):
    """Follows the prompted objects through a stream of frames.

    The input `frames` is a tensor, (H, W, 3) or (H, W, 4) uint8 RGB or RGBA, or a table with one
    tensor. The output `labels` is a table with one tensor `labels`, (H, W, 1) uint8, whose pixels
    are object ids, so that ids are at most 255. The first frame that arrives is frame 0 of the
    prompts.

    Args:
        fragment: the application.
        prompts: what to segment. Prompts may be added to the set while the stream runs, for frames
            that have not arrived yet.
        model: which model is used, and where it runs.
        tracking: how masks are made; without it masks of different objects do not share pixels.
        args: for Holoscan's `Operator`.
        kwargs: for Holoscan's `Operator`.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        prompts: PromptSet,
        model: ModelOptions | None = None,
        tracking: TrackingOptions | None = None,
        **kwargs: Any,
    ) -> None:
        self._prompts = prompts
        self._model_options = model or ModelOptions()
        self._options = tracking or TrackingOptions()
        self._tracker: Tracker | None = None
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the input and the output."""
        spec.input("frames")
        spec.output("labels")

    def start(self) -> None:
        """Load the model before the first frame comes."""
        self._model = self._model_options.load()

    @torch.no_grad()
    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Segment the frame that has arrived.

        Raises:
            InputError: the frame is no picture of the stream's size, or an id is above 255.
        """
        frame = frame_of(op_input.receive("frames"))
        height, width = frame.shape[:2]
        if self._tracker is None:
            self._tracker = Tracker(self._model, width, height, options=self._options)
        tracker = self._tracker
        outputs = tracker.advance(tracker.encoded(frame), self._prompts)
        labels = torch.zeros(height, width, dtype=torch.uint8, device=self._model.device)
        if outputs:
            if max(outputs) > _LARGEST_ID:
                raise InputError(
                    f"object {max(outputs)}: label images of 8 bits have ids up to {_LARGEST_ID}; "
                    "number the objects of the prompts anew"
                )
            low_res = torch.cat([output.low_res for output in outputs.values()])
            low_res = tidy(low_res, self._options)
            masks = make_masks(outputs, low_res, (width, height), self._options)
            for object_id, mask in zip(outputs, masks, strict=True):
                labels.masked_fill_(mask.to(labels.device), object_id)
        op_output.emit({"labels": labels[..., None]}, "labels")


def frame_of(message: Any) -> torch.Tensor:
    """Return the frame of a message as a tensor on its device, without a copy.

    Args:
        message: an object with DLPack's interface, or a table with one such object.

    Returns:
        (H, W, 3) uint8 RGB; the fourth channel of RGBA is left out.

    Raises:
        InputError: it is no picture in RGB or RGBA of 8 bits.
    """
    if hasattr(message, "keys"):
        names = list(message.keys())
        if len(names) != 1:
            raise InputError(f"a message must have one tensor, got {len(names)}: {names}")
        message = message[names[0]]
    frame = torch.from_dlpack(message)
    if frame.ndim != 3 or frame.shape[2] not in (3, 4) or frame.dtype != torch.uint8:
        raise InputError(
            f"a frame must be (H, W, 3) or (H, W, 4) uint8, got {tuple(frame.shape)} {frame.dtype}"
        )
    return frame[..., :3]
