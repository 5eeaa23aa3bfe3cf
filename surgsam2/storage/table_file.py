"""Text files and CSV tables that users write, such as lists of classes and of videos."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from surgsam2.errors import InputError
from surgsam2.storage.text import one_line, text_of_cell

MAX_BYTES = 16 * 2**20
"""Largest file that is read."""


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, without the mark of the byte order.

    Raises:
        InputError: the file cannot be read, is not text, or is larger than `MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MB; is it a list?")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8; save it in UTF-8") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read: {reason}") from error


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Read a CSV file whose first line names its columns, in any order and case.

    Args:
        path: the file.
        columns: the columns that it may have. It must have the first of them.

    Yields:
        The place of a row, such as ``FILE: line 2``, and its values by column, without white
        space around them and without the apostrophe of `spreadsheet_cell`.

    Raises:
        InputError: the file cannot be read, a column is unknown, missing or there twice, or a row
            has more values than there are columns.
    """
    rows = csv.DictReader(io.StringIO(read_text(path)), restkey="", restval="")
    try:
        names = [name.strip().lower() for name in rows.fieldnames or ()]
        unknown = [name for name in names if name not in columns]
        if unknown or columns[0] not in names or len(set(names)) != len(names):
            problem = f"unknown column {one_line(repr(unknown[0]), 80)}; " if unknown else ""
            raise InputError(
                f"{path}: {problem}the first line must name the column '{columns[0]}' and may "
                f"name {', '.join(columns[1:])}, each once"
            )
        rows.fieldnames = names
        for row in rows:
            place = f"{path}: line {rows.line_num}"
            if "" in row:
                raise InputError(f"{place}: there are more values than columns")
            yield place, {name: text_of_cell(value.strip()) for name, value in row.items()}
    except csv.Error as error:
        raise InputError(f"{path}: line {max(1, rows.line_num)}: {error}") from error
