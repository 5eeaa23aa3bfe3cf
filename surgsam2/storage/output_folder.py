"""The output folder: whether this program wrote it, and whether it is complete.

`prepare_output` puts two small files into the folder: ``.surgsam2`` says that this program writes
the folder, ``INCOMPLETE`` that a run is not finished. `finish_output` removes the latter; where
it stays, the run goes on, was stopped or failed. A run holds the folder by a lock on
``.surgsam2`` (`hold_output`), so that no other run can write into it.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from surgsam2.errors import OutputError
from surgsam2.storage.atomic_file import TEMPORARY_SUFFIX, write_text_atomically, writing
from surgsam2.storage.folder_lock import exclusive
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.label_image import LABELS

PROGRAM = "surgsam2"
"""Value of the key ``program`` in the reports of this program."""
MARKER = ".surgsam2"
"""File that says that this program writes the folder."""
INCOMPLETE = "INCOMPLETE"
"""File that says that the folder is not complete."""
RESUME = ".resume"
"""Folder inside the output folder with the state from which an unfinished run continues."""
RECORD = ".results"
"""File with the results of a complete run, from which every format can be written again."""
RECORD_IDENTITY = ".results.json"
"""File that says which run the file `RECORD` belongs to."""
MANIFEST = ".manifest.json"
"""File that says how far a video of a list is, and of which run it is."""
PROMPTS = "prompts.json"
"""File with the prompts of the masks in the folder; masks among them are PNG files beside it."""
ANNOTATION = "annotation.json"
"""File with the state of a project of `surgsam2 annotate`."""

_TOKEN_LINE = re.compile(r"^token ([0-9a-f]{32})$", re.MULTILINE)
_MARKER_BYTES = 1 << 12  # more than a marker has

_PRODUCTS = (
    PROMPTS,
    ANNOTATION,
    "overlay.mp4",
    "annotations.coco.json",
    "frames.csv",
    "scene.mrb",
    "polygons.coco.json",
    "annotations.cvat.xml",
    "tasks.label-studio.json",
    "label-studio.xml",
    "masks.mkv",
    "objects.mov",
    "segmentation.dcm",
    "report.json",
    "review.html",
)
_TREES = {"vos": r"[^/]+\.(?:jpg|png)", "yolo": r"[^/]+\.(?:jpg|txt)|data\.yaml"}
"""Folders of products, with the names of the files in them and in their folders."""
_PART = re.escape(TEMPORARY_SUFFIX)
_OWN = (*_PRODUCTS, MARKER, INCOMPLETE, RECORD, RECORD_IDENTITY, MANIFEST)
_names = "|".join(map(re.escape, _OWN))
# The files of this program, and the unfinished files that a killed process leaves.
_names += r"|prompts_object\d+_frame\d+\.png"
_OURS = re.compile(rf"(?:{_names})(?:{_PART})?|\.(?:{_names})\.[0-9a-f]{{8}}{_PART}")
_OURS_IN_MASKS = re.compile(rf"\d{{5,}}\.png|\.\d{{5,}}\.png\.[0-9a-f]{{8}}{_PART}")


def prepare_output(folder: Path | str, overwrite: bool = False) -> Path:
    """Make a folder ready for a run and mark it as ``INCOMPLETE``.

    A missing folder is created, with its parents. From the folder of an earlier run the files
    that this program writes are removed.

    Args:
        folder: the folder.
        overwrite: accept a folder that holds other files too. They stay.

    Returns:
        The path of the folder.

    Raises:
        OutputError: the folder holds other files, is no folder, cannot be written, a file or
            folder of an earlier run in it is a link, or another run writes into it.
    """
    with hold_output(folder, overwrite=overwrite) as held:
        begin_output(held.path)
        return held.path


class HeldOutput:
    """An output folder that other runs are kept out of; `hold_output` makes it.

    Args:
        path: the folder, which has its marker.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._marker = _identity(path / MARKER)

    def check(self) -> None:
        """Check that this is still the same folder; it takes some microseconds.

        Raises:
            OutputError: the folder was removed or renamed, and perhaps another is in its place,
                which other runs may write.
        """
        if self._marker is None or _identity(self.path / MARKER) != self._marker:
            raise OutputError(
                f"cannot write {self.path}: the folder was removed, renamed or replaced during the "
                "run; move it back and resume, or begin again"
            )


def _identity(file: Path) -> tuple[int, int] | None:
    """Return what tells a file from every other; None if it is not there."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def hold_output(folder: Path | str, *, overwrite: bool = False) -> Iterator[HeldOutput]:
    """Keep other runs out of a folder while the block runs.

    The folder is created or refused as by `prepare_output`; nothing is removed from it. The
    operating system ends the hold with the process, also when the process is killed.

    Args:
        folder: the folder.
        overwrite: as for `prepare_output`.

    Yields:
        The folder.

    Raises:
        OutputError: as for `prepare_output`.
    """
    path = _usable(folder, overwrite)
    refuse_links(path)
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
        yield HeldOutput(path)


def token_of(folder: Path) -> str | None:
    """Return the token of an output folder; None if it has none or cannot be read."""
    try:
        with (folder / MARKER).open("rb") as file:
            text = file.read(_MARKER_BYTES).decode("ascii", "replace")
    except OSError:
        return None
    found = _TOKEN_LINE.search(text)
    return found[1] if found else None


def give_token(folder: Path) -> str:
    """Return the token of an output folder, which gets one at the first call.

    The token is random text in the folder's marker. A document that knows it was made by someone
    who could read the folder; see `token_of`.

    Raises:
        OutputError: as for `hold_output`.
    """
    with hold_output(folder) as held:
        token = token_of(held.path)
        if token is None:
            token = secrets.token_hex(16)
            with writing(held.path), (held.path / MARKER).open("a", encoding="ascii") as file:
                file.write(f"token {token}\n")
        return token


def refuse_links(folder: Path) -> None:
    """Refuse an output folder in which a link would let a run read or change files elsewhere.

    Raises:
        OutputError: there is such a link, or the folder cannot be read.
    """
    resume = folder / RESUME
    paths = [folder / MARKER, folder / RECORD, folder / LABELS, resume]
    with writing(folder):
        if resume.is_dir() and not resume.is_symlink():
            paths += sorted(resume.iterdir())
        for tree in _TREES:
            paths += [folder / tree, *_folders_in(folder / tree)]
        for path in paths:
            refuse_link(path)


def refuse_link(path: Path) -> None:
    """Raise `OutputError` if a path is a link."""
    if path.is_symlink():
        raise OutputError(f"cannot write {path}: it is a link to another place; remove it first")


def begin_output(folder: Path, *, keep: bool = False) -> None:
    """Mark a folder that is held as ``INCOMPLETE``.

    Args:
        folder: the folder.
        keep: remove only the unfinished files of an earlier run, because the run that begins
            continues it. Otherwise all files of an earlier run are removed.

    Raises:
        OutputError: a file cannot be written or removed.
    """
    # This file is written first, so that the folder never looks complete.
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
    """Mark a folder as complete; raise `OutputError` if a file cannot be removed."""
    path = Path(folder) / INCOMPLETE
    with writing(path):
        path.unlink(missing_ok=True)
        # The state goes last: a process that is killed before leaves a complete folder.
        _remove_resume(Path(folder))


def is_ours(folder: Path | str) -> bool:
    """Return whether a folder has the marker or the report of an earlier run."""
    folder = Path(folder)
    if (folder / MARKER).is_file():
        return True
    try:
        report = parse_json((folder / "report.json").read_bytes())
    except (OSError, ValueError):
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
        for tree, names in _TREES.items():
            ours = re.compile(rf"{names}|\..*\.[0-9a-f]{{8}}{_PART}")
            for place in reversed([folder / tree, *_folders_in(folder / tree)]):
                if place.is_dir() and not place.is_symlink():
                    remove_from(place, ours)
                    if not any(place.iterdir()):
                        place.rmdir()


def _folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder and in those; links are not followed."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    inner = [path for path in folder.iterdir() if path.is_dir()]
    return [*inner, *(path for each in inner for path in _folders_in(each))]


def _remove_resume(folder: Path) -> None:
    path = folder / RESUME
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
