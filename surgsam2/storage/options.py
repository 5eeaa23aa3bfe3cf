"""Options that a user can set, as dataclasses whose fields carry meaning, range and help text.

The command line, the MONAI bundle, the engine's messages, Slicer's parameter node and the
reference pages all derive from these fields, so that an option is described once.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from surgsam2.errors import InputError
from surgsam2.storage.settings import parse

_Self = TypeVar("_Self", bound="Options")
_KEY = "surgsam2"


@dataclass(frozen=True)
class Option:
    """The description of one option.

    Attributes:
        name: the name of the field, with underscores.
        kind: the annotated type, such as ``int | None``.
        default: the value that holds when the user gives none.
        help: one sentence or phrase that says what the option does, without a full stop.
        choices: the values that are allowed; empty when any value of the type is.
        minimum: the least number that is allowed; None when there is no limit.
        maximum: the greatest number that is allowed; None when there is no limit.
        metavar: the word that stands for the value on a help page, such as ``AREA``.
    """

    name: str
    kind: Any
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    metavar: str | None = None

    @property
    def is_flag(self) -> bool:
        """Whether the option is either on or off."""
        return self.kind is bool

    @property
    def value_type(self) -> Any:
        """The type of a value that is given: ``int`` for ``int | None``."""
        if get_origin(self.kind) in (Union, types.UnionType):
            return next(t for t in get_args(self.kind) if t is not type(None))
        return self.kind

    def check(self, value: Any) -> None:
        """Check one value.

        Raises:
            InputError: the value is of another type, no choice, or out of range.
        """
        if value is None and self.value_type is not self.kind:
            return
        number = {int: Integral, float: Real}.get(self.value_type)
        if number is None:
            parse(self.kind, value, self.name)
            if self.choices and value not in self.choices:
                raise InputError(
                    f"{self.name} must be one of {', '.join(self.choices)}, got {value!r}"
                )
            return
        is_number = isinstance(value, number) and not isinstance(value, bool)
        too_small = is_number and self.minimum is not None and value < self.minimum
        too_large = is_number and self.maximum is not None and value > self.maximum
        if not is_number or too_small or too_large:
            whole = "a whole number" if self.value_type is int else "a number"
            limits = f" of {self.minimum:g} or more" if self.minimum is not None else ""
            if self.maximum is not None:
                limits = f" from {self.minimum:g} to {self.maximum:g}"
            raise InputError(f"{self.name} must be {whole}{limits}, got {value!r}")


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str | None = None,
) -> Any:
    """Return a dataclass field that describes an option; see `Option` for the arguments."""
    described = {
        "help": help,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "metavar": metavar,
    }
    return field(default=default, metadata={_KEY: described})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base class of a group of options. Values are checked when an object is made.

    Raises:
        InputError: a value is of another type, no choice, or out of range.
    """

    def __post_init__(self) -> None:
        for described in self._own_options():
            described.check(getattr(self, described.name))

    @classmethod
    def described(cls) -> Iterator[Option]:
        """Yield the description of every option, in the order of the fields.

        The options of a field that holds another group of options are among them.
        """
        groups = cls._groups()
        own = {described.name: described for described in cls._own_options()}
        for item in fields(cls):
            if item.name in groups:
                yield from groups[item.name].described()
            elif item.name in own:
                yield own[item.name]

    @classmethod
    def from_mapping(cls: type[_Self], values: Mapping[str, Any], where: str = "") -> _Self:
        """Make options of plain data such as JSON, YAML or a bundle's configuration.

        Args:
            values: values by the names of the options, those of inner groups included. Missing
                ones keep their defaults.
            where: what the values belong to, for messages of errors.

        Raises:
            InputError: an unknown name, or a value that cannot be used.
        """
        rest = dict(values)
        inner = {}
        for name, group in cls._groups().items():
            known = [described.name for described in group.described()]
            given = {key: rest.pop(key) for key in known if key in rest}
            inner[name] = group.from_mapping(given, where)
        options: _Self = parse(cls, rest, where)
        return replace(options, **inner) if inner else options

    def as_mapping(self) -> dict[str, Any]:
        """Return the values by name, as plain data that JSON can hold.

        The values of inner groups of options are among them.
        """
        values: dict[str, Any] = {}
        for name in self._groups():
            values |= getattr(self, name).as_mapping()
        for described in self._own_options():
            values[described.name] = getattr(self, described.name)
        return {described.name: values[described.name] for described in self.described()}

    @classmethod
    def _groups(cls) -> dict[str, type[Options]]:
        """Return the fields that hold another group of options, with their classes."""
        hints = get_type_hints(cls)
        kinds = {item.name: hints[item.name] for item in fields(cls)}
        return {
            name: kind
            for name, kind in kinds.items()
            if isinstance(kind, type) and issubclass(kind, Options)
        }

    @classmethod
    def _own_options(cls) -> Iterator[Option]:
        """Yield the descriptions of the options that are fields of this class itself."""
        hints = get_type_hints(cls)
        for item in fields(cls):
            if _KEY in item.metadata:
                yield Option(item.name, hints[item.name], item.default, **item.metadata[_KEY])
