"""Read label PNGs of any kind: palette, grey, 16-bit, RGB saved by mistake, or damaged.

A label map is an (H, W) integer array whose values are object ids, 0 is background.
"""

from __future__ import annotations

import contextlib
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surgsam2.data.sequence import natural_key
from surgsam2.errors import DatasetError, ImageFileError
from surgsam2.storage.image_file import read_pixels
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.label_image import LABELS, label_name
from surgsam2.storage.mask_values import palette_labels
from surgsam2.storage.text import text_of_cell

RESOLUTIONS = ("480p", "Full-Resolution")
"""DAVIS' folders between ``Annotations`` and the sequences."""


@dataclass(frozen=True)
class LabelFile:
    """The content of one label PNG: its label map, or None, and what was unusual about it."""

    labels: np.ndarray | None
    problem: str = ""
    """A key of `surgsam2.evaluation.truth.problems.COUNTED`, or empty."""
    message: str = ""


def read_labels(path: Path) -> LabelFile:
    """Read a label PNG; one whose values are not clearly object ids gives no label map."""
    try:
        stored = read_pixels(path)
    except ImageFileError as error:
        return LabelFile(None, "unreadable", error.reason)
    values, mode = stored.values, stored.mode
    if mode == "P":
        return LabelFile(palette_labels(stored))
    if mode in ("L", "1"):
        return LabelFile(values.astype(np.uint8, copy=False))
    if mode.startswith("I"):
        return _wide_labels(values)
    return _coloured_labels(values, mode)


def _wide_labels(values: np.ndarray) -> LabelFile:
    values = values.astype(np.int32)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        return LabelFile(None, "unreadable", "32-bit values outside 0..65535 are no object ids")
    return LabelFile(values.astype(np.uint16), "sixteen-bit", "16-bit PNG where 8-bit is usual")


def _coloured_labels(values: np.ndarray, mode: str) -> LabelFile:
    """Take equal channels for object ids; the meaning of other colours is not guessed."""
    colours = values[..., :3] if "RGB" in mode else values[..., :1]
    if (colours == colours[..., :1]).all():
        message = f"{mode} PNG where an indexed one is expected"
        return LabelFile(colours[..., 0].copy(), "grey-rgb", message)
    message = f"{mode} PNG in colours where an indexed one is expected: save palette or grey PNGs"
    return LabelFile(None, "not-indexed", message)


def label_ids(labels: np.ndarray) -> list[int]:
    """Return the object ids in a label map in ascending order, without the background."""
    if labels.dtype.itemsize <= 2 and labels.dtype.kind in "ui":
        return [int(v) for v in np.flatnonzero(np.bincount(labels.ravel())) if v]
    return [int(v) for v in np.unique(labels) if v]


@dataclass(frozen=True)
class LabelFolders:
    """The sequences found under a folder."""

    folders: dict[str, Path]
    """Folder of the PNGs by name of the sequence."""
    flat: bool = False
    """Whether the folder itself is the only sequence; then its name need not match the truth's."""
    stray: tuple[Path, ...] = ()
    """PNGs beside the folders of the sequences, which belong to no sequence."""


def label_folders(root: Path) -> LabelFolders:
    """Find the folders of label PNGs under `root`.

    Args:
        root: a folder of such folders, a folder of PNGs itself (one sequence, named after the
            folder), or a dataset with an ``Annotations`` folder, with or without DAVIS's
            resolution folder. The folder ``masks`` of a sequence, as ``surgsam2 segment``
            writes it, is used in place of the sequence's folder.

    Raises:
        DatasetError: `root` is not a folder, or has no label PNGs.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder")
    for step in ("Annotations", *RESOLUTIONS):
        if (root / step).is_dir():
            root = root / step
    own = root.absolute()
    while own.name in ("Annotations", *RESOLUTIONS):
        own = own.parent
    if _pngs(root / "masks"):
        return LabelFolders({own.name: root / "masks"}, flat=True, stray=tuple(_pngs(root)))
    found = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        if _pngs(folder):
            found[folder.name] = folder
        elif _pngs(folder / "masks"):
            found[folder.name] = folder / "masks"
    if not found and _pngs(root):
        return LabelFolders({own.name: root}, flat=True)
    if not found:
        raise DatasetError(
            f"no label PNGs in {root}: expected SEQUENCE/FRAME.png, or FRAME.png for one sequence"
        )
    return LabelFolders(found, stray=tuple(_pngs(root)))


def label_files(folder: Path) -> dict[str, Path]:
    """Return the PNG of each file name (without extension), in the order of names."""
    return {path.stem: path for path in _pngs(folder)}


def label_files_by_frame(folder: Path) -> dict[str, Path]:
    """Return the PNG of each frame name, in the order of files.

    The frames of a ``masks`` folder are called as the images of the video are, if the COCO file
    or the table beside the folder tells those names (`surgsam2 segment --keep-names`). Otherwise
    they are called as the files.
    """
    sources = _source_names(folder.parent) if folder.name == LABELS else {}
    return {sources.get(stem, stem): path for stem, path in label_files(folder).items()}


def _source_names(output: Path) -> dict[str, str]:
    """Return the name of the source image of each label image; none if they are not told."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        data = parse_json((output / "annotations.coco.json").read_bytes())
        found = [(Path(i["file_name"]).stem, i["source"]) for i in data["images"]]
        return {stem: source for stem, source in found if isinstance(source, str)}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, csv.Error):
        text = (output / "frames.csv").read_text(encoding="utf-8")
        rows = csv.DictReader(text.splitlines())
        found = [(label_name(int(row["frame"]))[:-4], text_of_cell(row["source"])) for row in rows]
        return {stem: source for stem, source in found if source}
    return {}


def _pngs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = [p for p in folder.iterdir() if p.suffix.lower() == ".png" and p.is_file()]
    return sorted(files, key=natural_key)
