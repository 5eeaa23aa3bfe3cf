"""Options by their names in Slicer: ``allowOverlap`` for the field ``allow_overlap``."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from surgsam2.storage.options import Options

_OptionsType = TypeVar("_OptionsType", bound=Options)


def parameter_name(option: str) -> str:
    """Return the name of an option as Slicer writes it: ``allowOverlap``."""
    first, *rest = option.split("_")
    return first + "".join(word.capitalize() for word in rest)


def option_name(parameter: str) -> str:
    """Return the name of an option as Python writes it: ``allow_overlap``."""
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), parameter)


def options_of(parameters: Any, group: type[_OptionsType]) -> _OptionsType:
    """Read a group of options from a parameter node.

    Args:
        parameters: a `SurgSAM2ParameterNode`.
        group: the class of the options.
    """
    values: dict[str, Any] = {}
    for described in group.described():
        value = getattr(parameters, parameter_name(described.name), None)
        if isinstance(value, enum.Enum):
            value = value.value
        if value not in ("", None):
            values[described.name] = value
    return group.from_mapping(values)


def options_from_arguments(group: type[_OptionsType], arguments: Mapping[str, Any]) -> _OptionsType:
    """Make options of a call's arguments, whose names are in Slicer's style.

    Raises:
        InputError: there is no such option, or a value cannot be used.
    """
    return group.from_mapping({option_name(name): value for name, value in arguments.items()})
