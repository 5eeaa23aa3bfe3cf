"""Classes of objects, such as "Grasper", and lists of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from surgsam2.errors import PromptError
from surgsam2.prompts.checks import MAX_OBJECT_ID, checked_color, checked_name, show, whole_number
from surgsam2.storage.palette import default_color

MAX_TERMINOLOGY_LENGTH = 1000
"""Largest number of characters of a class's codes."""


@dataclass(frozen=True)
class ObjectClass:
    """A class that objects can have.

    Raises:
        PromptError: a value cannot be used.
    """

    id: int
    """1 to 65535; the category id in exported files."""
    name: str
    """One line of text, not blank."""
    color: str = ""
    """``#rrggbb``; empty takes a fixed colour per id."""
    terminology: str = ""
    """Codes of category and type as 3D Slicer writes them, ``scheme^code^meaning`` each, with
    ``~`` between them; empty when there are none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", whole_number(self.id, "class id", 1, MAX_OBJECT_ID))
        place = f"class {self.id}"
        checked_name(self.name, place)
        color = self.color or default_color(self.id)
        object.__setattr__(self, "color", checked_color(color, place))
        _check_terminology(self.terminology, place)


class ClassList:
    """The classes that objects of a project can have, in the order in which a menu shows them.

    Args:
        name: the name of the list.
        classes: the classes. Ids and names must differ; names are compared without regard to
            case.

    Raises:
        PromptError: an id or a name occurs twice.
    """

    def __init__(self, name: str, classes: Iterable[ObjectClass]) -> None:
        self.name = name
        self.classes = tuple(classes)
        for what, values in (
            ("id", [item.id for item in self.classes]),
            ("name", [item.name.casefold() for item in self.classes]),
        ):
            for value, count in Counter(values).items():
                if count > 1:
                    raise PromptError(
                        f"the class {what} {show(value)} occurs {count} times; keep one of them"
                    )

    def by_id(self, class_id: int) -> ObjectClass | None:
        """Return the class with an id; None when there is none."""
        return next((item for item in self.classes if item.id == class_id), None)

    def by_name(self, name: str) -> ObjectClass | None:
        """Return the class with a name, whatever its case; None when there is none."""
        wanted = name.casefold()
        return next((item for item in self.classes if item.name.casefold() == wanted), None)

    def __iter__(self) -> Iterator[ObjectClass]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClassList):
            return NotImplemented
        return (self.name, self.classes) == (other.name, other.classes)

    __hash__ = None  # type: ignore[assignment]


def instance_numbers(classes: Iterable[ObjectClass | None]) -> list[int]:
    """Return the number of each object within its class.

    Args:
        classes: the class of each object; None for an object without one.

    Returns:
        Numbers from 1, in the order of the objects; objects without a class are counted together.
    """
    seen: Counter[int | None] = Counter()
    numbers = []
    for item in classes:
        key = None if item is None else item.id
        seen[key] += 1
        numbers.append(seen[key])
    return numbers


def _check_terminology(value: object, place: str) -> None:
    if value == "":
        return
    fits = isinstance(value, str) and value.isprintable() and len(value) <= MAX_TERMINOLOGY_LENGTH
    parts = value.split("~") if isinstance(value, str) else []
    if not fits or len(parts) != 2 or any(part.count("^") != 2 for part in parts):
        raise PromptError(
            f"{place}: the terminology must look like 'SCT^123037004^Anatomical "
            f"Structure~SCT^10200004^Liver', got {show(value)}"
        )
