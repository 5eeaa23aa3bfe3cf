"""Classes of objects as 3D Slicer's terminology entries, which every segment has.

An entry is text: ``context~category~type~modifier~region context~region~region modifier``, and each
part but the contexts is ``scheme^code^meaning``. The contexts are those of Slicer's "DICOM master
list". It has few surgical instruments; a class without codes gets one of the private scheme
``99SURGSAM2``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import count

from surgsam2.prompts import ClassList, ObjectClass
from surgsam2.prompts.checks import MAX_NAME_LENGTH
from surgsam2.prompts.object_class import MAX_TERMINOLOGY_LENGTH

UNCLASSIFIED = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~"
    "SCT^85756007^Tissue~^^~Anatomic codes - DICOM master list~^^~^^"
)
"""The entry "Tissue" that Slicer gives to every segment that nobody has classified."""
_CONTEXT = "Segmentation category and type - DICOM master list"
_THING = "SCT^260787004^Physical object"


def entry_of(object_class: ObjectClass | None) -> str:
    """Return the entry of a class; None is the entry of segments that nobody has classified."""
    if object_class is None:
        return UNCLASSIFIED
    codes = object_class.terminology
    if not codes:
        name = re.sub(r"[~^|&]", " ", object_class.name)
        number = hashlib.sha256(object_class.name.casefold().encode()).hexdigest()[:12]
        codes = f"{_THING}~99SURGSAM2^{number}^{name}"
    return f"{_CONTEXT}~{codes}~^^~~^^~^^"


def classes_of(entries: Iterable[str | None], classes: ClassList) -> list[ObjectClass | None]:
    """Return the classes that entries stand for.

    Args:
        entries: the entries of segments; None is Slicer's default.
        classes: the list to look them up in, by the codes.

    Returns:
        A class for each entry. One that is not in the list is named as its entry says, and has an
        id that the list does not have. A segment that nobody has classified has None.
    """
    known = {_codes(entry_of(item)): item for item in reversed(classes.classes)}
    used = {item.id for item in classes}
    found: list[ObjectClass | None] = []
    for entry in entries:
        codes = _codes(entry or UNCLASSIFIED)
        if codes not in known and codes != _codes(UNCLASSIFIED) and _meaning(codes):
            free = next(number for number in count(1) if number not in used)
            used.add(free)
            known[codes] = ObjectClass(free, _meaning(codes), terminology=codes)
        found.append(known.get(codes))
    return found


def _codes(entry: str) -> str:
    """Return category and type of an entry, in the form of `ObjectClass.terminology`.

    What cannot be part of it is left out.
    """
    parts = [*entry.split("~")[1:3], "", ""][:2]
    fits = [part.count("^") == 2 and part.isprintable() for part in parts]
    codes = "~".join(part if fit else "^^" for part, fit in zip(parts, fits, strict=True))
    return codes if len(codes) <= MAX_TERMINOLOGY_LENGTH else "^^~^^"


def _meaning(codes: str) -> str:
    """Return the name of the type, else of the category; empty when there is none."""
    category, _, kind = codes.partition("~")
    names = (code.rpartition("^")[2].strip()[:MAX_NAME_LENGTH] for code in (kind, category))
    return next((name for name in names if name and name.isprintable()), "")
