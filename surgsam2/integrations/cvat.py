"""A tracker for CVAT, as a function of Nuclio (`init_context` and `handler`).

CVAT sends one frame at a time, with boxes to follow and with the states that the function returned
for them on the frame before. See docs/cvat.md.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.model.build import SurgSAM2Model, load_model
from surgsam2.prompts import PromptSet
from surgsam2.storage.image_file import read_rgb
from surgsam2.storage.temporary import TemporaryFolder
from surgsam2.tracking.tracker import Tracker

MODEL_VARIABLE, DEVICE_VARIABLE = "SURGSAM2_MODEL", "SURGSAM2_DEVICE"
"""Environment variables that name the model and its device."""

_FARTHEST = 1e6
"""Largest number of pixels that a corner of a box may have."""
_MOST_TRACKERS = 32
"""Largest number of trackers that are kept; the one used longest ago is forgotten first."""

Shape = list[float]
"""A box, ``[x0, y0, x1, y1]`` in pixels."""
State = dict[str, Any]
"""The state that CVAT keeps for a tracked object: the tracker, the object's id, the next frame."""


class BoxTracker:
    """Follows boxes from frame to frame, for many objects and several videos at once.

    Objects that begin on the same frame share a tracker and are followed together. The memories of
    the objects stay in this process; an object whose tracker is gone, or is at another frame,
    begins anew from its last box.

    Args:
        model: the model, from `load_model`.
    """

    def __init__(self, model: SurgSAM2Model) -> None:
        self._model = model
        self._trackers: OrderedDict[str, Tracker] = OrderedDict()

    def track(
        self, frame: np.ndarray, shapes: Sequence[Shape], states: Sequence[State | None]
    ) -> tuple[list[Shape], list[State]]:
        """Follow objects to a frame, or begin with them on it.

        Args:
            frame: the pixels, (H, W, 3) uint8 RGB.
            shapes: the box of each object: on this frame if the object begins, else on the last.
            states: the state of each object; None, or no entry, for one that begins.

        Returns:
            The boxes on this frame and the new states. An object without a mask keeps its box.

        Raises:
            InputError, PromptError: a box cannot be used.
        """
        known = [states[k] if k < len(states) else None for k in range(len(shapes))]
        places = [_place(state) for state in known]
        boxes = list(shapes)
        results: dict[int, State] = {}
        followed: dict[str, dict[int, int]] = {}
        for k, place in enumerate(places):
            if place is not None and self._is_next(frame, *place):
                followed.setdefault(place[0], {})[k] = place[1]
        for name, numbers in followed.items():
            tracker = self._trackers[name]
            result = tracker.step(frame)
            self._trackers.move_to_end(name)
            for k, number in numbers.items():
                boxes[k] = _box_of(result.mask(number)) or boxes[k]
                results[k] = _state(name, number, tracker)
        new = [k for k in range(len(shapes)) if k not in results]
        if new:
            results |= self._begin(frame, boxes, new)
        return boxes, [results[k] for k in range(len(shapes))]

    def _begin(
        self, frame: np.ndarray, boxes: Sequence[Shape], new: Sequence[int]
    ) -> dict[int, State]:
        prompts = PromptSet()
        for number, k in enumerate(new, 1):
            prompts.add(object_id=number, frame=0, box=boxes[k])
        height, width, _ = frame.shape
        tracker = Tracker(self._model, width, height)
        tracker.step(frame, prompts)
        name = uuid.uuid4().hex
        self._trackers[name] = tracker
        while len(self._trackers) > _MOST_TRACKERS:
            self._trackers.popitem(last=False)
        return {k: _state(name, number, tracker) for number, k in enumerate(new, 1)}

    def _is_next(self, frame: np.ndarray, name: str, number: int, index: int) -> bool:
        """Return whether the tracker of an object is still here, and at the object's next frame."""
        tracker = self._trackers.get(name)
        return (
            tracker is not None
            and frame.shape == (tracker.height, tracker.width, 3)
            and index == tracker.frame_index
            and number in tracker.object_ids
        )


def init_context(context: Any) -> None:
    """Load the model once, when Nuclio starts the function."""
    model = load_model(
        os.environ.get(MODEL_VARIABLE, "demo"), device=os.environ.get(DEVICE_VARIABLE, "auto")
    )
    context.user_data.tracker = BoxTracker(model)
    context.logger.info(f"loaded {model.name} on {model.device}")


def handler(context: Any, event: Any) -> Any:
    """Answer a request of CVAT: a frame with boxes and states, to new boxes and states.

    A request that cannot be carried out is answered with status 400 and the reason.
    """
    try:
        shapes, states = answer(context.user_data.tracker, event.body)
    except SurgSAM2Error as error:
        return context.Response(
            body=str(error), headers={}, content_type="text/plain", status_code=400
        )
    return context.Response(
        body=json.dumps({"shapes": shapes, "states": states}),
        headers={},
        content_type="application/json",
        status_code=200,
    )


def answer(tracker: BoxTracker, body: Any) -> tuple[list[Shape], list[State]]:
    """Return the boxes and states for the body of a request.

    Args:
        tracker: the tracker of this process.
        body: has `image`, a picture file as base64, and the lists `shapes` and `states`.

    Raises:
        InputError, PromptError, ImageFileError: the picture or a box cannot be used.
    """
    if not isinstance(body, Mapping):
        raise InputError("a request must be a JSON object with image, shapes and states")
    shapes, states = body.get("shapes") or [], body.get("states") or []
    if not isinstance(shapes, list) or not isinstance(states, list):
        raise InputError("shapes and states must be lists")
    return tracker.track(_picture(body.get("image")), [_checked(s) for s in shapes], states)


def _picture(text: Any) -> np.ndarray:
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InputError(f"image is no picture in base64 ({error})") from error
    with TemporaryFolder() as folder:
        path = folder / "frame"
        path.write_bytes(data)
        return read_rgb(path)


def _checked(shape: Any) -> Shape:
    if (
        not isinstance(shape, list | tuple)
        or len(shape) != 4
        or not all(type(v) in (int, float) and abs(v) <= _FARTHEST for v in shape)
    ):
        raise InputError(f"a box must be [x0, y0, x1, y1], got {shape!r:.80}")
    return [float(v) for v in shape]


def _place(state: Any) -> tuple[str, int, int] | None:
    """Return tracker, object and next frame of a state; None for one that begins."""
    if not isinstance(state, Mapping):
        return None
    name, number, frame = state.get("tracker"), state.get("object"), state.get("frame")
    if isinstance(name, str) and isinstance(number, int) and isinstance(frame, int):
        return name, number, frame
    return None


def _state(name: str, number: int, tracker: Tracker) -> State:
    return {"tracker": name, "object": number, "frame": tracker.frame_index}


def _box_of(mask: np.ndarray) -> Shape | None:
    """Return the smallest box around a mask; None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
