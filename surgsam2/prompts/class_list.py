"""Reading lists of classes: those of the package, CSV files, and 3D Slicer's terminology files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from surgsam2.errors import InputError, PromptError
from surgsam2.prompts.checks import show
from surgsam2.prompts.object_class import ClassList, ObjectClass
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.palette import hex_color

CLASS_LISTS = {
    "general": "Surgical objects",
    "endovis2017": "EndoVis 2017 instruments",
    "endovis2018": "EndoVis 2018 scene",
    "cholecseg8k": "CholecSeg8k",
    "cholec80": "Cholec80 instruments",
}
"""Titles of the lists that come with the package, by the name that `load_class_list` takes."""
COLUMNS = ("id", "name", "color", "terminology")
"""The columns of a CSV file; only ``name`` must be there."""
MAX_FILE_BYTES = 16 * 2**20
"""Largest file that is read."""
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
    text = _read(path)
    try:
        if path.suffix.lower() == ".json":
            return _from_terminology(text, name)
        return ClassList(name, _from_csv(text))
    except PromptError as error:
        raise InputError(f"{path}: {error}") from error


def _read(path: Path) -> str:
    if path.suffix.lower() not in (".csv", ".json"):
        raise InputError(
            f"{path}: a class list is a .csv or .json file, or one of {', '.join(CLASS_LISTS)}"
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MB; is it a list?")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8; save it in UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read: {reason}") from error


def _from_csv(text: str) -> Iterator[ObjectClass]:
    rows = csv.DictReader(io.StringIO(text), restkey="", restval="")
    try:
        columns = [column.strip().lower() for column in rows.fieldnames or ()]
    except csv.Error as error:
        raise PromptError(f"line 1: {error}") from error
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or "name" not in columns or len(set(columns)) != len(columns):
        what = f"unknown column {show(unknown[0])}" if unknown else f"columns {show(columns)}"
        raise PromptError(
            f"{what}; the first line must name the column 'name' and may name "
            f"{', '.join(column for column in COLUMNS if column != 'name')}, each once"
        )
    rows.fieldnames = columns
    count = 0
    try:
        for row in rows:
            count += 1
            yield _class_of(row, count, f"line {rows.line_num}")
    except csv.Error as error:
        raise PromptError(f"line {rows.line_num}: {error}") from error
    if not count:
        raise PromptError("there is no class in it; add a line for each class")


def _class_of(row: dict[str, Any], number: int, place: str) -> ObjectClass:
    if "" in row:
        raise PromptError(f"{place}: there are more values than columns")
    values = {key: value.strip() for key, value in row.items()}
    given = values.get("id", "")
    if given and not (given.isascii() and given.isdecimal() and len(given) < 10):
        raise PromptError(f"{place}: the id must be a whole number, got {show(given)}")
    try:
        return ObjectClass(
            int(given) if "id" in values else number,
            values["name"],
            values.get("color", ""),
            values.get("terminology", ""),
        )
    except (PromptError, ValueError) as error:  # ValueError: an empty id
        text = str(error) if isinstance(error, PromptError) else "the id is missing"
        raise PromptError(f"{place}: {text}") from error


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
    if not classes:
        raise PromptError("there is no type in it")
    return ClassList(str(data.get("SegmentationCategoryTypeContextName") or name), classes)


def _code(item: dict[str, Any]) -> str:
    parts = item["CodingSchemeDesignator"], item["CodeValue"], item["CodeMeaning"]
    return "^".join(parts)
