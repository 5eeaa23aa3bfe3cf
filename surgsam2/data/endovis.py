"""The EndoVis robotic surgery challenges of 2017 and 2018.

Both come in two layouts, told apart by their folders:

*VOS layout*, as used by the authors of SurgSAM2 (their configuration names
``Ref-Endovis18/train/JPEGImages`` and ``.../Annotations``): see `surgsam2.data.vos`;
pixel values are instance ids.

*Raw release*, below. The frames are stereo; labels are for the left camera only.

Sources: the challenges' data pages (endovissub2017-roboticinstrumentsegmentation and
endovissub2018-roboticscenesegmentation on grand-challenge.org) and papers, Allan et al.,
arXiv 1902.06426 and arXiv 2001.11190; names and values as in the files that come with
the data (``parts_mapping.json``, ``type_mapping.json``, ``labels.json``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from surgsam2.data.sequence import (
    Dataset,
    FileSequence,
    Sequence,
    Skipped,
    image_files,
    image_size,
    natural_key,
    read_image,
    scan_pairs,
)
from surgsam2.data.vos import VOSDataset
from surgsam2.errors import DatasetError, ImageFileError
from surgsam2.storage.image_file import LOSSLESS_FORMATS, has_wide_channels, read_pixels
from surgsam2.storage.json_text import parse_json

ENDOVIS17_TYPES = {
    1: "Bipolar Forceps",
    2: "Prograsp Forceps",
    3: "Large Needle Driver",
    4: "Vessel Sealer",
    5: "Grasping Retractor",
    6: "Monopolar Curved Scissors",
    7: "Other",
}
"""Instrument types, EndoVis 2017 (``type_mapping.json``)."""

ENDOVIS17_PARTS = {10: "shaft", 20: "wrist", 30: "claspers"}
"""Pixel values inside an instrument's mask, EndoVis 2017 (``parts_mapping.json``)."""

ENDOVIS18_CLASSES: dict[int, tuple[str, tuple[int, int, int]]] = {
    0: ("background-tissue", (0, 0, 0)),
    1: ("instrument-shaft", (0, 255, 0)),
    2: ("instrument-clasper", (0, 255, 255)),
    3: ("instrument-wrist", (125, 255, 12)),
    4: ("kidney-parenchyma", (255, 55, 0)),
    5: ("covered-kidney", (24, 55, 125)),
    6: ("thread", (187, 155, 25)),
    7: ("clamps", (0, 255, 125)),
    8: ("suturing-needle", (255, 255, 125)),
    9: ("suction-instrument", (123, 15, 175)),
    10: ("small-intestine", (124, 155, 5)),
    11: ("ultrasound-probe", (12, 255, 141)),
}
"""Name and RGB colour by class id, EndoVis 2018; used where a release has no ``labels.json``."""

_LEFT = ("left_frames", "left_frame")


def instrument_type(folder_name: str) -> int:
    """Return the EndoVis 2017 type of a mask folder such as ``Left_Prograsp_Forceps_labels``.

    Sides and the word "labels" do not matter; an unknown type is 7, "Other".
    """
    words = re.sub(r"[^a-z]+", " ", folder_name.lower())
    for number, name in ENDOVIS17_TYPES.items():
        if name.lower() in words:
            return number
    return 7


class EndoVis17(Dataset):
    """EndoVis 2017: instruments, one object per physical instrument.

    Raw layout, anywhere below `folder` (the release's parts may be unpacked side by side)::

        instrument_dataset_<n>/left_frames/frame000.png     (left_frame is accepted)
        instrument_dataset_<n>/ground_truth/<side>_<type>_labels/frame000.png

    An instrument's mask is an 8-bit PNG (in dataset 7 RGB with equal channels) that is 0
    outside the instrument and has the value of a part (`ENDOVIS17_PARTS`) inside it. An
    object's id is the position of its mask folder in the order of names, from 1;
    `object_names` keeps the folder's name. Where masks overlap, the higher id stays.

    Frames of the release are 1920x1080 with black borders; they are given as they are.
    The picture proper is 1280x1024 at (320, 28).

    `include_other` keeps the folders of type "Other" (laparoscopic tools, ultrasound probe).
    """

    def __init__(self, folder: str | Path, include_other: bool = True) -> None:
        folder = Path(folder)
        if (folder / "JPEGImages").is_dir():
            vos = VOSDataset(folder)
            super().__init__(list(vos.sequences), Skipped(), folder)
            self.skipped = vos.skipped
            return
        skipped = Skipped()
        found: list[Sequence] = []
        for root in _sequence_folders(folder, "instrument_dataset_*"):
            sequence = _raw17(root, folder, include_other, skipped)
            if sequence is not None:
                found.append(sequence)
        super().__init__(found, skipped, folder)


class EndoVis18(Dataset):
    """EndoVis 2018: the whole scene, one object per class.

    Raw layout, anywhere below `folder`::

        [miccai_challenge_release_<r>/]seq_<n>/left_frames/frame000.png
        [miccai_challenge_release_<r>/]seq_<n>/labels/frame000.png      colour coded
        labels.json                     [{"name": ..., "color": [r, g, b], "classid": ...}, ...]

    The release has no instances: an object is a class, its id is the class id
    (`ENDOVIS18_CLASSES` unless a ``labels.json`` is found at or above the sequence).
    Colours that are in neither table make the annotation unusable: reported, left out.

    `classes` are the ids or names to keep (all but background when None).
    """

    def __init__(self, folder: str | Path, classes: tuple[int | str, ...] | None = None) -> None:
        folder = Path(folder)
        if (folder / "JPEGImages").is_dir():
            if classes is not None:
                raise DatasetError(
                    f"{folder} is in the VOS layout, which has instances: classes cannot be chosen"
                )
            vos = VOSDataset(folder)
            super().__init__(list(vos.sequences), Skipped(), folder)
            self.skipped = vos.skipped
            return
        skipped = Skipped()
        found: list[Sequence] = []
        for root in _sequence_folders(folder, "seq_*"):
            table = _labels_json(root, folder)
            maker = partial(ColourSequence, table=table, wanted=_wanted(table, classes))
            labels = image_files(root / "labels")
            name = root.relative_to(folder).as_posix() if root != folder else root.name
            sequence = scan_pairs(name, image_files(_left(root)), labels, skipped, maker)
            if sequence is not None:
                sequence.object_names = {i: table[i][0] for i in sequence.object_ids}
                found.append(sequence)
        super().__init__(found, skipped, folder)


def _sequence_folders(folder: Path, pattern: str) -> list[Path]:
    """List the folders with left frames: `folder` itself or up to two levels below it."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder")
    candidates = [folder, *folder.glob(pattern), *folder.glob(f"*/{pattern}")]
    candidates += folder.glob(f"*/*/{pattern}")
    roots = [p for p in candidates if p.is_dir() and any((p / left).is_dir() for left in _LEFT)]
    if not roots:
        raise DatasetError(
            f"{folder} has neither JPEGImages nor {pattern}/left_frames; "
            "give the folder into which the release was unpacked"
        )
    return sorted(roots, key=lambda p: natural_key(p.relative_to(folder).as_posix()))


def _left(root: Path) -> Path:
    return next(root / left for left in _LEFT if (root / left).is_dir())


# --- 2017 ------------------------------------------------------------------------------


@dataclass(eq=False)
class _MaskFolders(FileSequence):
    """Frames with one folder of masks per instrument."""

    masks: tuple[tuple[int, Path], ...] = ()
    """Object id and folder of each instrument."""

    def read_labels(self, index: int) -> np.ndarray | None:
        if self.label_paths[index] is None:
            return None
        labels: np.ndarray | None = None
        for object_id, folder in self.masks:
            path = folder / self.frame_paths[index].name
            if not path.is_file():
                continue
            mask = read_instrument_mask(path)
            if labels is None:
                labels = np.zeros(mask.shape, np.uint16)
            labels[mask] = object_id
        return labels


def read_instrument_mask(path: Path) -> np.ndarray:
    """Read the non-zero pixels, (H, W) bool, of a grey, palette or RGB mask of any bit depth."""
    try:
        values = read_pixels(path, formats=LOSSLESS_FORMATS).values
    except ImageFileError as error:
        raise DatasetError(f"cannot read the mask {error}") from error
    if values.ndim == 3:
        values = values[..., :3].max(axis=2)
    return np.asarray(values != 0)


def _raw17(root: Path, folder: Path, include_other: bool, skipped: Skipped) -> _MaskFolders | None:
    name = root.relative_to(folder).as_posix() if root != folder else root.name
    truth = root / "ground_truth"
    folders = sorted(p for p in truth.iterdir() if p.is_dir()) if truth.is_dir() else []
    masks = tuple(
        (i, p)
        for i, p in enumerate(folders, start=1)
        if include_other or instrument_type(p.name) != 7
    )
    frames: list[Path] = []
    labels: list[Path | None] = []
    ids: set[int] = set()
    all_frames = image_files(_left(root))
    known = {frame.name for frame in all_frames}
    for _, mask_folder in masks:
        for file in image_files(mask_folder):
            if file.name not in known:
                skipped.add("annotation without its frame", file)
    for frame in all_frames:
        try:
            size = image_size(frame)
        except DatasetError:
            skipped.add("unreadable image", frame)
            continue
        frames.append(frame)
        labels.append(_first_mask(frame, size, masks, ids, skipped))
    if not ids:
        skipped.add("no object in the sequence", name)
        return None
    names = {i: p.name.removesuffix("_labels").replace("_", " ") for i, p in masks if i in ids}
    return _MaskFolders(name, tuple(frames), tuple(labels), tuple(sorted(ids)), names, masks)


def _first_mask(
    frame: Path,
    size: tuple[int, int],
    masks: tuple[tuple[int, Path], ...],
    ids: set[int],
    skipped: Skipped,
) -> Path | None:
    """Return the first mask file of a frame, or None where a mask cannot be used or none exists.

    One bad mask makes the whole frame count as not annotated, because an instrument that is
    visible but not labelled would be learned as background.
    """
    first: Path | None = None
    present: set[int] = set()
    for object_id, folder in masks:
        path = folder / frame.name
        if not path.is_file():
            continue
        try:
            mask = read_instrument_mask(path)
        except DatasetError:
            skipped.add("unreadable annotation", path)
            return None
        if mask.shape != (size[1], size[0]):
            skipped.add("size differs from its frame's", path)
            return None
        first = first or path
        if mask.any():
            present.add(object_id)
    ids |= present
    return first


# --- 2018 ------------------------------------------------------------------------------

Table = dict[int, tuple[str, tuple[int, int, int]]]


def _labels_json(root: Path, top: Path) -> Table:
    """Return the table of classes that belongs to a sequence."""
    folder = root
    while True:
        path = folder / "labels.json"
        if path.is_file():
            return read_labels_json(path)
        if folder in (top, folder.parent):
            return ENDOVIS18_CLASSES
        folder = folder.parent


def read_labels_json(path: Path) -> Table:
    """Read name and RGB colour by class id from an EndoVis 2018 ``labels.json``.

    Raises:
        DatasetError: the file has another form.
    """
    try:
        entries = parse_json(path.read_text(encoding="utf-8"))
        table = {
            int(e["classid"]): (str(e["name"]), (int(r), int(g), int(b)))
            for e in entries
            for r, g, b in [e["color"]]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f'{path} must be a list of {{"name", "color": [r, g, b], "classid"}}: {error!r}'
        ) from error
    if not table:
        raise DatasetError(f"{path} has no classes")
    return table


def _wanted(table: Table, classes: tuple[int | str, ...] | None) -> frozenset[int]:
    if classes is None:
        return frozenset(table) - {0}
    by_name = {name: number for number, (name, _) in table.items()}
    wanted = set()
    for item in classes:
        number = by_name.get(item) if isinstance(item, str) else item
        if number not in table:
            raise DatasetError(f"no class {item!r}; there are {', '.join(by_name)}")
        wanted.add(number)
    return frozenset(wanted)


@dataclass(eq=False)
class ColourSequence(FileSequence):
    """Frames with colour-coded labels."""

    table: Table = field(default_factory=dict)
    """Name and RGB colour of each class by its id."""
    wanted: frozenset[int] = frozenset()
    """Ids of the classes that are read; others are background."""

    def decode(self, path: Path) -> np.ndarray:
        """Read a label file: (H, W) uint16 class ids.

        Raises:
            DatasetError: the file cannot be read, or has a colour of no class.
        """
        if has_wide_channels(path):
            raise DatasetError(f"{path} has 16 bits per channel; its colours are of 8 bits")
        image = read_image(path)
        red, green, blue = (c.astype(np.int32) for c in cv2.split(image))
        packed = (red << 16) | (green << 8) | blue
        codes = {(r << 16) | (g << 8) | b: i for i, (_, (r, g, b)) in self.table.items()}
        labels = np.zeros(packed.shape, np.uint16)
        for code in np.unique(packed):
            number = codes.get(int(code))
            if number is None:
                raise DatasetError(f"{path} has the colour #{int(code):06x}, of no class")
            if number in self.wanted:
                labels[packed == code] = number
        return labels
