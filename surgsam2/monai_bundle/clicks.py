"""The clicks and boxes of MONAI Label as prompts of a single image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from surgsam2.errors import InputError
from surgsam2.prompts import Prompt

_BEYOND = 2**31
"""Neither a pixel nor a frame has this number."""
META_KEY = "surgsam2_clicks"
"""Key in the metadata of an image under which the network finds its prompts."""


class ClicksToMetad(MapTransform):
    """Puts the clicks and the box of a request into the metadata of its image.

    MONAI Label gives the inferer nothing but the image, so that prompts travel with it. A request
    has ``foreground`` and ``background``, lists of ``[x, y]``, and ``roi``, which is
    ``[x0, y0, x1, y1]``, in pixels of the image; further numbers, which belong to slices of a
    volume, are ignored. Without any of them the image stays as it is.

    Args:
        keys: the keys of the image, a `MetaTensor`.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with prompts in the metadata of the image.

        Raises:
            InputError: a click or box does not have this form, or only the background is marked.
        """
        result = dict(data)
        clicks = _clicks(data)
        if clicks is not None:
            for key in self.key_iterator(result):
                image = result[key]
                image = image if isinstance(image, MetaTensor) else MetaTensor(image)
                image.meta[META_KEY] = clicks
                result[key] = image
        return result


def clicks_of(image: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the prompts of an image as SAM 2 takes them; None if it has none.

    Returns:
        (P, 2) float32 x and y in pixels, and (P,) int32 labels: 1 on the object, 0 outside it, 2
        and 3 for the top left and bottom right corner of a box, which come first.
    """
    clicks = image.meta.get(META_KEY) if isinstance(image, MetaTensor) else None
    return clicks if isinstance(clicks, tuple) else None


def read_marks(data: Mapping[Any, Any]) -> tuple[list[list[float]], list[float]]:
    """Return the clicks and the box of a request of MONAI Label.

    Args:
        data: the request; see `ClicksToMetad` for its form.

    Returns:
        The clicks, ``[x, y, label]`` with label 1 for the foreground and 0 for the background,
        followed by the click's further numbers; and the box, four numbers or more, or none.

    Raises:
        InputError: a click or box does not have this form.
    """
    points = []
    for name, label in (("foreground", 1.0), ("background", 0.0)):
        for click in _list(data, name):
            x, y, *more = _numbers(click, 2, f"a click of {name}")
            points.append([x, y, label, *more])
    roi = _list(data, "roi")
    return points, _numbers(roi, 4, "roi") if roi else []


def _clicks(data: Mapping[Hashable, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    clicks, roi = read_marks(data)
    if not clicks and not roi:
        return None
    rows = np.array([click[:3] for click in clicks]).reshape(-1, 3)
    prompt = Prompt(0, rows[:, :2], rows[:, 2], roi[:4] or None)  # type: ignore[arg-type]
    if prompt.box is None:
        return prompt.points, prompt.labels
    corners = prompt.box.reshape(2, 2)
    return (
        np.concatenate([corners, prompt.points]),
        np.concatenate([np.array([2, 3], np.int32), prompt.labels]),
    )


def _is_usual(value: Any) -> bool:
    """Return whether a value is a number that a pixel or a frame can have; NaN is none."""
    return type(value) in (int, float) and abs(value) < _BEYOND


def _list(data: Mapping[Any, Any], name: str) -> list[Any]:
    value = data.get(name)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise InputError(f"{name} must be a list, got {value!r}")
    return list(value)


def _numbers(value: Any, least: int, what: str) -> list[float]:
    numbers = list(value) if isinstance(value, list | tuple) else []
    if len(numbers) < least or not all(map(_is_usual, numbers)):
        raise InputError(f"{what} must be {least} or more numbers, got {value!r:.80}")
    return [float(v) for v in numbers]
