"""JSON as plain data. Text of strangers raises `ValueError` and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def parse_json(
    text: str | bytes | bytearray,
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Return the content of JSON text.

    Args:
        text: the text, or its bytes in UTF-8, UTF-16 or UTF-32.
        pairs_hook: makes an object of its keys and values, in the text's order; None makes a
            `dict`, in which the last of equal keys counts.

    Returns:
        `dict`, `list`, `str`, `int`, `float`, `bool` or None, nested.

    Raises:
        ValueError: the text is no JSON, not text at all, or nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs_hook)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
