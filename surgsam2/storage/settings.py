"""Converts values from files and command lines to the types of dataclasses and annotations."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from surgsam2.errors import InputError


def parse(kind: Any, value: Any, where: str) -> Any:
    """Return a value as an object of a type.

    Args:
        kind: a dataclass, whose values are a table; a list of a type; a tuple of a type, which
            may also be text with commas; a union with None; a `Literal`; or a plain type.
        value: the value, as JSON, YAML or MONAI's command line has it. Numbers and truth values
            may be text.
        where: the name of the value for messages.

    Raises:
        InputError: the value does not fit the type, or a table has an unknown key.
    """
    if is_dataclass(kind):
        return _parse_dataclass(kind, value, where)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return parse(next(t for t in inner if t is not type(None)), value, where)
    if origin is Literal and value not in inner:
        raise InputError(f"{where} must be one of {', '.join(inner)}, got {value!r}")
    if origin is tuple and isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if origin in (list, tuple) and isinstance(value, list | tuple):
        return origin(parse(inner[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if kind is bool and str(value).lower() in (
        "true",
        "false",
    ):  # MONAI's command line reads true as text
        value = str(value).lower() == "true"
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:  # YAML reads 1e-4 as text
            return float(value)
        except ValueError:
            pass
    if origin is Literal or (isinstance(kind, type) and type(value) is kind):
        return value
    raise InputError(f"{where} must be {getattr(kind, '__name__', kind)}, got {value!r}")


def parse_path(value: Any, where: str) -> str | None:
    """Return a path or a name as text, or None.

    MONAI's command line takes a name of digits for a number. Everything else that is not text
    raises `InputError`.
    """
    return str(value) if type(value) is int else parse(str | None, value, where)


def _parse_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise InputError(f"{where or 'a recipe'} must be a table of settings, got {value!r}")
    known = {f.name: f for f in fields(kind)}
    hints = get_type_hints(kind)
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=3) or sorted(known)
            path = f"{where}.{key}" if where else key
            raise InputError(f"unknown setting {path!r}; did you mean {', '.join(near)}?")
    given = {
        k: parse(hints[k], v, f"{where}.{k}" if where else k)
        for k, v in value.items()
        if v is not None or known[k].default is None or known[k].default is MISSING
    }
    return kind(**given)
