"""The class of each object of a run, whether it was given one or has its name only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from surgsam2.prompts import ObjectClass, PromptedObject


def class_names(classes: dict[int, ObjectClass]) -> list[str]:
    """Return names for class numbers from 0 on, where a class has its id less 1.

    Numbers in between that no object has are called ``class ID``, so that a class of a list has
    the same number for every video.

    Args:
        classes: the class of each object, from `classes_of`.
    """
    names = {item.id: item.name for item in classes.values()}
    return [names.get(number, f"class {number}") for number in range(1, max(names, default=0) + 1)]


def classes_of(objects: Sequence[PromptedObject]) -> dict[int, ObjectClass]:
    """Return the class of each object by object id.

    Objects without a class get one with their name and the colour of the first of them, so that
    two objects of one name are two instances of one class. Its id is that of the first object, or
    the smallest free one when any object has a class. A name of a given class means that class.
    """
    given = {item.object_class.id: item.object_class for item in objects if item.object_class}
    by_name = {item.name.casefold(): item for item in given.values()}
    free = (number for number in count(1) if number not in given)
    classes: dict[int, ObjectClass] = {}
    for item in objects:
        found = item.object_class or by_name.get(item.name.casefold())
        if found is None:
            found = ObjectClass(next(free) if given else item.id, item.name, item.color)
            by_name[item.name.casefold()] = found
        classes[item.id] = found
    return classes
