"""Storing and checking the values of a parameter node."""

from __future__ import annotations

import enum
import pathlib
import typing
from typing import Any

import slicer


class Validator:
    def validate(self, value: Any) -> None:
        raise NotImplementedError


class NotNone(Validator):
    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")


class WithinRange(Validator):
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within [{self.minimum}, {self.maximum}]")


class Minimum(Validator):
    def __init__(self, minimum: float) -> None:
        self.minimum = minimum

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"{value} is less than {self.minimum}")


class Maximum(Validator):
    def __init__(self, maximum: float) -> None:
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"{value} is greater than {self.maximum}")


class Choice(Validator):
    def __init__(self, choices: list[Any]) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


class Default:
    def __init__(self, value: Any = None) -> None:
        self.value = value


class Parameter:
    """A typed value of a node: its type, validators and default.

    Storage is Slicer's: text by name; a node as an empty text plus a node reference.
    """

    def __init__(self, name: str, annotation: Any, default: Any) -> None:
        self.name = name
        is_annotated = typing.get_origin(annotation) is typing.Annotated
        self.type, *self.annotations = (
            typing.get_args(annotation) if is_annotated else (annotation,)
        )
        self._check_type()
        given = [note.value for note in self.annotations if isinstance(note, Default)]
        if default is not None:
            given = [default]
        self.default = given[0] if given else self._plain_default()

    @property
    def is_node(self) -> bool:
        return issubclass(self.type, slicer.vtkMRMLNode)

    def first(self, kind: type) -> Any:
        return next((note for note in self.annotations if isinstance(note, kind)), None)

    def is_in(self, node: Any) -> bool:
        return bool(node.HasParameter(self.name))

    def write(self, node: Any, value: Any) -> None:
        """Store a value. Raise ValueError or TypeError when it does not fit."""
        self._check_value(value)
        if self.is_node:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            text = value.name if isinstance(value, enum.Enum) else str(value)
            node.SetParameter(self.name, text)

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        if not issubclass(self.type, enum.Enum):
            value = self.type(text)
            self._check_value(value)
            return value
        if text not in self.type.__members__:
            raise ValueError(f"{self.name}: {text!r} is not a name in {self.type!r}")
        return self.type[text]

    def _check_type(self) -> None:
        known = (bool, int, float, str, enum.Enum, pathlib.PurePath, slicer.vtkMRMLNode)
        if not (isinstance(self.type, type) and issubclass(self.type, known)):
            raise TypeError(f"{self.name}: the test host does not know {self.type}")
        if self.is_node:
            # Slicer asks an instance for its class name, so an abstract class raises TypeError.
            self.type().GetClassName()

    def _check_value(self, value: Any) -> None:
        accepted = (int, float) if self.type is float else self.type
        if value is None and self.is_node:
            return
        if not isinstance(value, accepted):
            raise TypeError(f"{self.name} is a {self.type.__name__}, got {value!r}")
        for validator in self.annotations:
            if isinstance(validator, Validator):
                validator.validate(value)

    def _plain_default(self) -> Any:
        if self.is_node:
            return None
        return next(iter(self.type)) if issubclass(self.type, enum.Enum) else self.type()
