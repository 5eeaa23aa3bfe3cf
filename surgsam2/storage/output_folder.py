"""The output folder: who owns it, and whether it is complete.

`prepare_output` puts two small files into the folder: ``.surgsam2`` says that the folder is
ours, ``INCOMPLETE`` that a run is under way. `finish_output` removes the latter; a folder
in which it is still there belongs to a run that goes on, was stopped or crashed. Whoever
writes for longer holds the folder by a lock on ``.surgsam2`` (`hold_output`).
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from surgsam2.errors import OutputError
from surgsam2.storage.atomic_file import TEMPORARY_SUFFIX, write_text_atomically, writing
from surgsam2.storage.folder_lock import exclusive
from surgsam2.storage.label_image import LABELS

PROGRAM = "surgsam2"
MARKER = ".surgsam2"
INCOMPLETE = "INCOMPLETE"
RESUME = ".resume"
"""Folder inside the output folder with what an unfinished run needs to go on."""

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

    Raises `OutputError` that names the folder when it is refused, not a folder or not writable,
    or when another run is writing it.
    """
    with hold_output(folder, overwrite=overwrite) as path:
        begin_output(path)
        return path


@contextlib.contextmanager
def hold_output(folder: Path | str, *, overwrite: bool = False) -> Iterator[Path]:
    """Nobody else can hold, begin or prepare the folder while the block runs; gives its path.

    The folder is created or refused as in `prepare_output`; nothing is removed from it. The
    operating system ends the hold when the process ends, also when it is killed.

    Raises `OutputError` as `prepare_output`.
    """
    path = _usable(folder, overwrite)
    with contextlib.ExitStack() as hold:
        marker = path / MARKER
        with writing(marker):
            try:
                hold.enter_context(exclusive(marker))
            except BlockingIOError:
                raise OutputError(
                    f"cannot write {folder}: another run is writing into this folder; wait until "
                    "it has finished, or choose another folder"
                ) from None
            if not marker.stat().st_size:
                marker.write_text("This folder is written by surgsam2.\n", encoding="utf-8")
        yield path


def begin_output(folder: Path, *, keep: bool = False) -> None:
    """Marks a folder that is held as ``INCOMPLETE``.

    The files of an earlier run are removed. With ``keep`` only those are that it did not
    finish, and the run that begins replaces the others one by one. Raises `OutputError`.
    """
    for name in (LABELS, RESUME):
        if (folder / name).is_symlink():
            raise OutputError(
                f"cannot write {folder / name}: it is a link to another folder; remove it first"
            )
    # written first: from here on the folder does not look complete
    write_text_atomically(
        folder / INCOMPLETE, "The run that writes this folder is under way or was interrupted.\n"
    )
    _remove_products(folder, only_unfinished=keep)
    if not keep:
        with writing(folder):
            _remove_resume(folder)


def _usable(folder: Path | str, overwrite: bool) -> Path:
    if not str(folder):
        raise OutputError("the name of the output folder is empty; give a folder")
    path = Path(folder)
    with writing(path):
        if path.exists() and not path.is_dir():
            raise OutputError(f"cannot write {folder}: it is a file; give a folder")
        path.mkdir(parents=True, exist_ok=True)
        occupied = any(path.iterdir())
    if occupied and not overwrite and not is_ours(path):
        raise OutputError(
            f"cannot write {folder}: the folder is not empty and not of an earlier run; "
            f"choose an empty or new folder, or set overwrite (--overwrite)"
        )
    return path


def finish_output(folder: Path | str) -> None:
    """Removes the ``INCOMPLETE`` marker: everything in the folder is complete."""
    path = Path(folder) / INCOMPLETE
    with writing(path):
        path.unlink(missing_ok=True)
        # after the marker: a process killed in between leaves a complete folder
        _remove_resume(Path(folder))


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


def _remove_products(folder: Path, *, only_unfinished: bool) -> None:
    masks = folder / LABELS

    def remove_from(place: Path, ours: re.Pattern[str], kept: tuple[str, ...] = ()) -> None:
        for path in list(place.iterdir()):
            due = path.name.endswith(TEMPORARY_SUFFIX) or not only_unfinished
            if due and ours.fullmatch(path.name) and path.name not in kept:
                path.unlink()

    with writing(folder):
        remove_from(folder, _OURS, kept=(MARKER, INCOMPLETE))
        if masks.is_dir():
            remove_from(masks, _OURS_IN_MASKS)
            if not any(masks.iterdir()):
                masks.rmdir()


def _remove_resume(folder: Path) -> None:
    path = folder / RESUME
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
