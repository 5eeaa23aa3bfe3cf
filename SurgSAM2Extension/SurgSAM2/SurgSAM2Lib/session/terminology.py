"""Entries of Slicer's terminology for objects in surgical video.

The codes are those of Slicer's "DICOM master list". It has few surgical instruments; for
the others the category is "Physical object" and the object's name says what it is. Any
other entry can be chosen in Segment Editor.
"""

from __future__ import annotations

_CONTEXT = "Segmentation category and type - DICOM master list"
_THING = "SCT^260787004^Physical object"
_ANATOMY = "SCT^123037004^Anatomical Structure"
_UNCLASSIFIED = "SCT^85756007^Tissue"


def _entry(category: str, code: str = "", meaning: str = "") -> str:
    """Return an entry as Slicer writes it: parts separated by ``~``, empty ones ``^^``."""
    kind = f"SCT^{code}^{meaning}" if code else "^^"
    return f"{_CONTEXT}~{category}~{kind}~^^~~^^~^^"


TERMS = {
    "Instrument": _entry(_THING),
    "Clip": _entry(_THING, "77720000", "Clip"),
    "Suture": _entry(_THING, "27065002", "Suture"),
    "Needle": _entry(_THING, "79068005", "Needle"),
    "Catheter": _entry(_THING, "19923001", "Catheter"),
    "Gallbladder": _entry(_ANATOMY, "28231008", "Gallbladder"),
    "Liver": _entry(_ANATOMY, "10200004", "Liver"),
    "Colon": _entry(_ANATOMY, "71854001", "Colon"),
    "Other anatomy": _entry(_ANATOMY),
}
"""Terminology entries by the word that the panel shows."""


def word_for(entry: str | None) -> str:
    """Return the word that the panel shows for an entry.

    It is the word of `TERMS`, else the meaning that the entry itself names. It is empty for
    None and for "Tissue", which Slicer gives to every segment that nobody has classified.
    """
    if entry is not None and entry.split("~")[1:3] == [_UNCLASSIFIED, _UNCLASSIFIED]:
        return ""
    for word, known in TERMS.items():
        if entry == known:
            return word
    fields = (entry or "").split("~")
    for field in (fields[2:3] or [""])[0], (fields[1:2] or [""])[0]:
        meaning = field.rpartition("^")[2]
        if meaning:
            return meaning
    return ""
