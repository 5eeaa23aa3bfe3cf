"""The output folder: who owns it, and whether it is complete.

`prepare_output` puts two small files into the folder: ``.surgsam2`` says that the folder is
ours, ``INCOMPLETE`` that a run is under way. `finish_output` removes the latter; a folder
in which it is still there belongs to a run that goes on, was stopped or crashed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from surgsam2.atomic import TEMPORARY_SUFFIX, write_text_atomically, writing
from surgsam2.errors import OutputError

PROGRAM = "surgsam2"
MARKER = ".surgsam2"
INCOMPLETE = "INCOMPLETE"

_PRODUCTS = (
    "overlay.mp4",
    "annotations.coco.json",
    "frames.csv",
    "scene.mrb",
    "report.json",
)
_PART = re.escape(TEMPORARY_SUFFIX)
_names = "|".join(map(re.escape, (*_PRODUCTS, MARKER, INCOMPLETE)))
# finished files, and what a killed process leaves of unfinished ones
_OURS = re.compile(rf"(?:{_names})(?:{_PART})?|\.(?:{_names})\.[0-9a-f]{{8}}{_PART}")
_OURS_IN_MASKS = re.compile(rf"\d{{5,}}\.png|\.\d{{5,}}\.png\.[0-9a-f]{{8}}{_PART}")


def prepare_output(folder: Path | str, overwrite: bool = False) -> Path:
    """Makes ``folder`` ready for a run and marks it ``INCOMPLETE``; returns its path.

    A missing folder is created (with parents). A folder of an earlier run is reused: the
    files this program writes are removed from it. A folder that holds anything else is
    refused, unless ``overwrite`` is true; then, too, only files with the names that this
    program writes are removed.

    Raises `OutputError` that names the folder when it is refused, not a folder or not writable.
    """
    if not str(folder):
        raise OutputError("the name of the output folder is empty; give a folder")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; give a folder")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    if occupied and not overwrite and not is_ours(folder):
        raise OutputError(
            f"cannot write {folder}: the folder is not empty and not of an earlier run; "
            f"choose an empty or new folder, or allow overwriting"
        )
    # written first: from here on the folder does not look complete
    write_text_atomically(
        folder / INCOMPLETE, "The run that writes this folder is under way or was interrupted.\n"
    )
    write_text_atomically(folder / MARKER, "This folder is written by surgsam2.\n")
    if occupied:
        _remove_products(folder)
    return folder


def finish_output(folder: Path | str) -> None:
    """Removes the ``INCOMPLETE`` marker: everything in the folder is complete."""
    path = Path(folder) / INCOMPLETE
    with writing(path):
        path.unlink(missing_ok=True)


def is_ours(folder: Path | str) -> bool:
    """Whether the folder has the marker or the report of an earlier run."""
    folder = Path(folder)
    if (folder / MARKER).is_file():
        return True
    try:
        report = json.loads((folder / "report.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(report, dict) and report.get("program") == PROGRAM


def _remove_products(folder: Path) -> None:
    masks = folder / "masks"
    with writing(folder):
        if masks.is_symlink():
            raise OutputError(
                f"cannot write {masks}: it is a link to another folder; remove the link first"
            )
        for path in list(folder.iterdir()):
            if _OURS.fullmatch(path.name) and path.name not in (MARKER, INCOMPLETE):
                path.unlink()
        if masks.is_dir():
            for path in list(masks.iterdir()):
                if _OURS_IN_MASKS.fullmatch(path.name):
                    path.unlink()
            if not any(masks.iterdir()):
                masks.rmdir()
