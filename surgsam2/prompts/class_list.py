"""Reading lists of classes: those of the package, CSV files, and 3D Slicer's terminology files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from surgsam2.errors import InputError, PromptError
from surgsam2.prompts.checks import show
from surgsam2.prompts.object_class import ClassList, ObjectClass
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.palette import hex_color
from surgsam2.storage.table_file import read_table, read_text

CLASS_LISTS = {
    "general": "Surgical objects",
    "endovis2017": "EndoVis 2017 instruments",
    "endovis2018": "EndoVis 2018 scene",
    "cholecseg8k": "CholecSeg8k",
    "cholec80": "Cholec80 instruments",
}
"""Titles of the lists that come with the package, by the name that `load_class_list` takes."""
COLUMNS = ("name", "id", "color", "terminology")
"""The columns of a CSV file; only ``name`` must be there."""
_FOLDER = Path(__file__).parent / "class_lists"


def load_class_list(source: str | Path) -> ClassList:
    """Read a list of classes.

    A CSV file has a head line with some of the columns ``id``, ``name``, ``color`` (``#rrggbb``)
    and ``terminology``; without ids the rows are counted from 1. A terminology file of 3D Slicer
    (JSON) gives a class for each type of each category.

    Args:
        source: a name in `CLASS_LISTS`, or the path of a ``.csv`` or ``.json`` file.

    Raises:
        InputError: the file cannot be read, has an unknown column, or a class occurs twice. The
            message names the file and the row.
    """
    if str(source) in CLASS_LISTS:
        path, name = _FOLDER / f"{source}.csv", CLASS_LISTS[str(source)]
    else:
        path, name = Path(source), Path(source).stem
    if path.suffix.lower() not in (".csv", ".json"):
        raise InputError(
            f"{path}: a class list is a .csv or .json file, or one of {', '.join(CLASS_LISTS)}"
        )
    try:
        if path.suffix.lower() == ".json":
            found = _from_terminology(read_text(path), name)
        else:
            found = ClassList(name, _from_csv(path))
        if not len(found):
            raise PromptError("there is no class in it")
        return found
    except PromptError as error:
        raise InputError(f"{path}: {error}") from error


def _from_csv(path: Path) -> Iterator[ObjectClass]:
    for number, (place, values) in enumerate(read_table(path, COLUMNS), 1):
        given = values.get("id", str(number))
        if not (given.isascii() and given.isdecimal() and len(given) < 10):
            what = f"must be a whole number, got {show(given)}" if given else "is missing"
            raise InputError(f"{place}: the id {what}")
        try:
            yield ObjectClass(
                int(given),
                values["name"],
                values.get("color", ""),
                values.get("terminology", ""),
            )
        except PromptError as error:
            raise InputError(f"{place}: {error}") from error


def _from_terminology(text: str, name: str) -> ClassList:
    try:
        data = parse_json(text)
        categories = data["SegmentationCodes"]["Category"]
        classes: list[ObjectClass] = []
        for category in categories:
            for kind in category["Type"]:
                classes.append(
                    ObjectClass(
                        len(classes) + 1,
                        kind["CodeMeaning"],
                        hex_color(kind.get("recommendedDisplayRGBValue")),
                        f"{_code(category)}~{_code(kind)}",
                    )
                )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, PromptError):
            raise
        raise PromptError(
            f"it is not a terminology file of 3D Slicer ({type(error).__name__}: {error}); it must "
            "have SegmentationCodes with Category and Type"
        ) from error
    return ClassList(str(data.get("SegmentationCategoryTypeContextName") or name), classes)


def _code(item: dict[str, Any]) -> str:
    parts = item["CodingSchemeDesignator"], item["CodeValue"], item["CodeMeaning"]
    return "^".join(parts)
