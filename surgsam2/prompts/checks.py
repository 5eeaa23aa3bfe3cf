"""Checks of single values. Their messages name the value and what is accepted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from surgsam2.errors import PromptError

MAX_OBJECT_ID = 65535
"""Largest object id: the largest value of a 16-bit label image."""
MAX_FRAME = 2**31 - 1
"""Largest frame index."""
MAX_NAME_LENGTH = 200
"""Largest number of characters in an object's name."""
NOT_IN_NAMES = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that a name must not have: control characters, surrogates, line ends."""


Points: TypeAlias = "Sequence[Sequence[float]] | np.ndarray"
Box: TypeAlias = "Sequence[float] | np.ndarray"


def refuse(place: str, text: str) -> NoReturn:
    """Raise a `PromptError` of the form ``place: text``, or ``text`` without a place."""
    raise PromptError(f"{place}: {text}" if place else text)


def whole_number(value: Any, what: str, low: int, high: int, *, named: bool = True) -> int:
    """Return a value as an int.

    Args:
        value: an int, or an integer of numpy; a bool is refused.
        what: the name of the value for the message.
        low: the least number that is allowed.
        high: the greatest number that is allowed.
        named: whether the message begins with `what`.

    Raises:
        PromptError: the value is no whole number in this range.
    """
    valid = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not valid or not low <= value <= high:
        prefix = f"{what} " if named else ""
        raise PromptError(f"{prefix}must be a whole number from {low} to {high}, got {show(value)}")
    return int(value)


def is_finite(value: float) -> bool:
    """Return whether a number is finite as float32."""
    try:
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.float32(value)))
    except OverflowError:  # an integer beyond float64
        return False


def checked_id(value: Any) -> int:
    """Return an object id as an int; raise `PromptError` unless it is 1 to `MAX_OBJECT_ID`."""
    return whole_number(value, "object id", 1, MAX_OBJECT_ID)


def checked_name(value: Any, place: str = "") -> None:
    """Raise `PromptError` unless a name is one line of plain text that is not blank."""
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME_LENGTH:
        refuse(
            place,
            f"the name must be text of 1 to {MAX_NAME_LENGTH} characters, got {show(value)}",
        )
    if any(unicodedata.category(character) in NOT_IN_NAMES for character in value):
        refuse(place, f"the name must be one line of plain text, got {show(value)}")


def checked_color(value: Any, place: str = "") -> str:
    """Return ``#rrggbb`` in lower case; raise `PromptError` for anything else."""
    if not isinstance(value, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        refuse(place, f"the color must look like '#e8c468', got {show(value)}")
    return value.lower()


def _array(value: Any, place: str, form: str) -> np.ndarray:
    """Return a float64 copy of something made of numbers; raise `PromptError` otherwise."""
    try:
        array = np.array(value)
    except (ValueError, TypeError):  # rows of different lengths
        array = np.array(None)
    if array.size == 0:
        return array.astype(np.float64)
    if array.dtype.kind not in "iuf":
        raise PromptError(f"{place}must be numbers as {form}, got {show(value)}")
    return array.astype(np.float64)


def split_points(points: Points | None) -> tuple[np.ndarray, np.ndarray]:
    """Split rows of x, y and label.

    Returns:
        (P, 2) float64 coordinates and (P,) float64 labels; P is 0 for None.

    Raises:
        PromptError: the points are not (P, 3) numbers.
    """
    if points is None:
        return np.zeros((0, 2)), np.zeros(0)
    rows = _array(points, "points ", "[[x, y, label], ...]")
    if rows.size == 0:
        return np.zeros((0, 2)), np.zeros(0)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise PromptError(f"points must be [[x, y, label], ...], got {show(points)}")
    return rows[:, :2], rows[:, 2]


def checked_points(points: Any, labels: Any, place: str) -> tuple[np.ndarray, np.ndarray]:
    """Return points as (P, 2) float32 and their labels as (P,) int32.

    Raises:
        PromptError: wrong shapes, coordinates that are not finite, or labels other than 0 and 1.
    """
    xy = _array(points, f"{place}: points ", "(P, 2) x and y")
    values = _array(labels, f"{place}: labels ", "(P,) 0 or 1")
    if xy.size == 0 and values.size == 0:
        return np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    if xy.ndim != 2 or xy.shape[1] != 2 or values.shape != (len(xy),):
        raise PromptError(
            f"{place}: points must be (P, 2) and labels (P,), got {xy.shape} and {values.shape}"
        )
    with np.errstate(over="ignore"):
        result = xy.astype(np.float32)
    infinite = ~np.isfinite(result).all(axis=1)
    if infinite.any():
        raise PromptError(
            f"{place}: the point {plain(xy[infinite.argmax()])} must be finite numbers"
        )
    unknown = ~np.isin(values, (0, 1))
    if unknown.any():
        first = unknown.argmax()
        raise PromptError(
            f"{place}: the label of the point {plain(result[first])} must be 1 (on the object) "
            f"or 0 (outside it), got {values[first]:g}"
        )
    return result, values.astype(np.int32)


def checked_box(box: Any, place: str) -> np.ndarray:
    """Return a box as (4,) float32 ``[x0, y0, x1, y1]``.

    Raises:
        PromptError: it is not four finite numbers with x0 < x1 and y0 < y1.
    """
    values = _array(box, f"{place}: the box ", "[x0, y0, x1, y1]")
    if values.shape != (4,):
        raise PromptError(f"{place}: the box must be [x0, y0, x1, y1], got {show(box)}")
    with np.errstate(over="ignore"):
        result = values.astype(np.float32)
    if not np.isfinite(result).all():
        raise PromptError(f"{place}: the box {plain(values)} must be finite numbers")
    if not (result[0] < result[2] and result[1] < result[3]):
        raise PromptError(
            f"{place}: the box {plain(result)} is empty or inverted; it is "
            f"[x0, y0, x1, y1] with x0 < x1 and y0 < y1"
        )
    return result


def checked_mask(mask: Any, place: str) -> np.ndarray:
    """Return a copy of a mask as (H, W) bool.

    Raises:
        PromptError: it is not (H, W) of bool or integers, or no pixel is set.
    """
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise PromptError(
            f"{place}: the mask must be an (H, W) array of bool or integers, "
            f"got shape {array.shape} of {array.dtype}"
        )
    result = array.astype(bool)  # a copy
    if not result.any():
        raise PromptError(f"{place}: the mask is empty; mark at least one pixel")
    return result


def plain(values: np.ndarray) -> list[float]:
    """Return Python numbers with the shortest text that reads back as the same value."""
    return [_number(value) for value in values]


def _number(value: Any) -> float:
    result = float(str(value))
    return int(result) if result.is_integer() and abs(result) < 2**24 else result


def one_line(value: object) -> str:
    """Return a text for a message: one line of printable characters, at most 120 of them."""
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 120 else f"{text[:117]}..."


def show(value: object) -> str:
    """Return a value as Python writes it for a message: one line, at most 80 characters."""
    if isinstance(value, np.ndarray) and value.size > 12:
        return f"an array of shape {value.shape}"
    if isinstance(value, dict | list) and len(value) > 12:
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)} entries"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, deep nesting
        return f"a {type(value).__name__} too large to show"
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."
