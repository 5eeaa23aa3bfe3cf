"""Checks plain data, such as the content of a JSON file, before it is used."""

from __future__ import annotations

import math
from typing import Any

_LONGEST = 60  # characters of a value in a message
_NAMES: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    None: "null",
}


def check_shape(value: Any, shape: Any, place: str = "the content") -> None:
    """Check that plain data has a shape.

    Args:
        value: the data.
        shape: `str`, `int`, `float` (also a whole number, but neither infinite nor NaN), `bool`,
            `list`, `dict` or None stand for such a value. ``[shape]`` is a list whose entries
            all have a shape. ``{"key": shape}`` is a table with these keys; one whose name ends
            in ``?`` may be missing, and other keys are allowed. ``{str: shape}`` is a table whose
            values all have a shape. ``(shape, shape)`` is a value that has one of them.
        place: the words for `value` in the message.

    Raises:
        ValueError: the data has another shape; the message names the first place.
    """
    if isinstance(shape, tuple):
        if any(_fits(value, each) for each in shape):
            return
        wanted = " or ".join(_name(each) for each in shape)
        raise ValueError(f"{place} must be {wanted}, got {_shown(value)}")
    kind = type(shape) if isinstance(shape, list | dict) else shape
    if not _is(value, kind):
        raise ValueError(f"{place} must be {_name(shape)}, got {_shown(value)}")
    if isinstance(shape, list):
        for number, entry in enumerate(value):
            check_shape(entry, shape[0], f"entry {number} of {place}")
    elif isinstance(shape, dict):
        for key, each in shape.items():
            if key is str:
                for name, entry in value.items():
                    check_shape(entry, each, f"{_shown(name)} in {place}")
            elif key.removesuffix("?") in value:
                name = key.removesuffix("?")
                check_shape(value[name], each, f"{name!r} in {place}")
            elif not key.endswith("?"):
                raise ValueError(f"{place} has no {key!r}")


def _fits(value: Any, shape: Any) -> bool:
    try:
        check_shape(value, shape)
    except ValueError:
        return False
    return True


def _is(value: Any, kind: Any) -> bool:
    if kind is None:
        return value is None
    if kind is float:
        return type(value) is int or (type(value) is float and math.isfinite(value))
    return type(value) is kind


def _name(shape: Any) -> str:
    return _NAMES[type(shape) if isinstance(shape, list | dict) else shape]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
