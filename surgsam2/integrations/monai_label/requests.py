"""The prompts and the device of a request to MONAI Label's server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException
from monailabel.utils.others.generic import name_to_device

from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.monai_bundle.clicks import read_marks
from surgsam2.prompts import PromptSet
from surgsam2.prompts.file import prompts_from_text

OBJECT = "object"
"""Name of the object where a request has clicks without a name."""


@contextmanager
def refusing() -> Iterator[None]:
    """Answer a request that cannot be carried out with status 422 and the reason."""
    try:
        yield
    except SurgSAM2Error as error:
        raise HTTPException(status_code=422, detail=str(error)) from error


def prompts_of(request: Mapping[str, Any], frame: int | None = None) -> PromptSet:
    """Return the prompts of a request.

    Args:
        request: has `foreground` and `background`, lists of ``[x, y]`` or ``[x, y, frame]``, and
            `roi`, ``[x0, y0, x1, y1]`` or ``[x0, y0, x1, y1, frame]``, for one object; or
            `prompts`, the content of a prompt file, for several objects.
        frame: the only frame that is segmented, where it is one; None takes the frames of the
            clicks, and 0 for clicks without one.

    Raises:
        InputError, PromptError: there are no prompts, or they cannot be used.
    """
    if request.get("prompts"):
        return prompts_from_text(json.dumps(request["prompts"]), {})
    clicks, roi = read_marks(request)
    if not clicks and not roi:
        raise InputError(
            "nothing is marked: a request has clicks (foreground, background: lists of [x, y] or "
            "[x, y, frame]), a box (roi: [x0, y0, x1, y1] or [x0, y0, x1, y1, frame]) or prompts"
        )
    boxes = {_frame(roi[4:], frame): roi[:4]} if roi else {}
    points: dict[int, list[list[float]]] = {}
    for x, y, label, *more in clicks:
        points.setdefault(_frame(more, frame), []).append([x, y, label])
    prompts = PromptSet()
    for index in sorted({*boxes, *points}):
        prompts.add(
            object_id=1, frame=index, points=points.get(index), box=boxes.get(index), name=OBJECT
        )
    return prompts


def device_of(request: Mapping[str, Any]) -> str:
    """Return the device of a request, which MONAI Label names after the GPU."""
    return str(name_to_device(request.get("device")))


def _frame(numbers: list[float], only: int | None) -> int:
    if only is not None:
        return only
    return int(numbers[0]) if numbers else 0
