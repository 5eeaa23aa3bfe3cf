"""Public datasets of laparoscopic and robotic surgery, as they are when they are unpacked.

CholecSeg8k (Hong et al., arXiv 2012.12453)::

    video01/video01_00080/frame_80_endo.png
    video01/video01_00080/frame_80_endo_color_mask.png       a colour for each class

Dresden Surgical Anatomy Dataset (Carstens et al., Scientific Data 2023)::

    liver/03/image00.png
    liver/03/mask00.png                                      white is the organ of the folder

ROBUST-MIS 2019 (Ross et al., Medical Image Analysis 2021), also ROBUST-MIPS::

    Training/Proctocolectomy/Prokto1/1280/raw.png
    Training/Proctocolectomy/Prokto1/1280/instrument_instances.png   a value for each instrument

SAR-RARP50 (Psychogyios et al., arXiv 2401.00496), with the frames that its toolkit extracts::

    video_1/rgb/000000060.png
    video_1/segmentation/000000060.png                       a value for each class

Endoscapes2023 (Mascagni et al., Scientific Data 2025)::

    train/12_24500.jpg                                       video 12, frame 24500
    semseg/12_24500.png                                      a value for each class

Objects are classes, except in ROBUST-MIS, whose values are instruments of a single picture.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from surgsam2.data.endovis import ColourSequence, read_instrument_mask
from surgsam2.data.sequence import (
    Dataset,
    FileSequence,
    Sequence,
    Skipped,
    image_files,
    natural_key,
    scan_pairs,
)
from surgsam2.errors import DatasetError

CHOLECSEG8K_CLASSES: dict[int, tuple[str, tuple[int, int, int]]] = {
    0: ("Black Background", (127, 127, 127)),
    1: ("Abdominal Wall", (210, 140, 140)),
    2: ("Liver", (255, 114, 114)),
    3: ("Gastrointestinal Tract", (231, 70, 156)),
    4: ("Fat", (186, 183, 75)),
    5: ("Grasper", (170, 255, 0)),
    6: ("Connective Tissue", (255, 85, 0)),
    7: ("Blood", (255, 0, 0)),
    8: ("Cystic Duct", (255, 255, 0)),
    9: ("L-hook Electrocautery", (169, 255, 184)),
    10: ("Gallbladder", (255, 160, 165)),
    11: ("Hepatic Vein", (0, 50, 128)),
    12: ("Liver Ligament", (111, 74, 0)),
}
"""Name and RGB colour of each class of CholecSeg8k, by class id."""
DSAD_CLASSES = {
    1: "abdominal_wall", 2: "colon", 3: "inferior_mesenteric_artery", 4: "intestinal_veins",
    5: "liver", 6: "pancreas", 7: "small_intestine", 8: "spleen", 9: "stomach", 10: "ureter",
    11: "vesicular_glands",
}  # fmt: skip
"""Folders of the Dresden Surgical Anatomy Dataset in the order of their names, from 1."""
SAR_RARP50_CLASSES = {
    1: "tool clasper", 2: "tool wrist", 3: "tool shaft", 4: "suturing needle", 5: "thread",
    6: "suction tool", 7: "needle holder", 8: "clamps", 9: "catheter",
}  # fmt: skip
ENDOSCAPES_CLASSES = {
    1: "cystic_plate", 2: "calot_triangle", 3: "cystic_artery", 4: "cystic_duct",
    5: "gallbladder", 6: "tool",
}  # fmt: skip


@dataclass(frozen=True)
class FoundSequence:
    """The files of one sequence before they are checked."""

    name: str
    frames: list[Path]
    labels: list[Path]
    frame_of: Callable[[Path], str]
    """Returns the stem of the frame that a label file belongs to."""
    make: Callable[..., FileSequence] = FileSequence
    """Class of the sequence."""


@dataclass(frozen=True)
class Layout:
    """The layout of a dataset in its folders."""

    title: str
    expected: str
    """An example of the files, for messages."""
    find: Callable[[Path], Iterator[FoundSequence]]
    """Finds the sequences below a folder."""
    class_names: dict[int, str] = field(default_factory=dict)
    """Name of each class by object id; empty if objects are no classes."""


class SurgicalDataset(Dataset):
    """A dataset in one of the `LAYOUTS`, anywhere below a folder.

    Files that cannot be used are left out and logged.

    Args:
        folder: the folder that the dataset was unpacked into, or a part of it.
        layout: a key of `LAYOUTS`.

    Raises:
        DatasetError: the folder has no files of this layout, or nothing can be used.
    """

    def __init__(self, folder: str | Path, layout: str) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise DatasetError(f"{folder} is not a folder")
        known = LAYOUTS[layout]
        self.class_names = known.class_names
        skipped = Skipped()
        sequences: list[Sequence] = []
        empty = True
        for found in known.find(folder):
            empty = False
            sequence = scan_pairs(
                found.name, found.frames, found.labels, skipped, found.make, found.frame_of
            )
            if sequence is not None:
                ids = sequence.object_ids
                sequence.object_names = {i: known.class_names.get(i, f"object {i}") for i in ids}
                sequences.append(sequence)
        if empty:
            raise DatasetError(
                f"{folder} is not in the layout of {known.title}: expected files such as "
                f"{known.expected}; give the folder into which it was unpacked"
            )
        super().__init__(sequences, skipped, folder)


def _same_stem(label: Path) -> str:
    return label.stem


def _folders_with(folder: Path, pattern: str) -> list[Path]:
    """Return the folders at or below a folder that have a file like a pattern, in order."""
    found = {path.parent for path in folder.rglob(pattern)}
    return sorted(found, key=lambda path: natural_key(_name(path, folder)))


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path != folder else path.absolute().name


def _cholecseg8k(folder: Path) -> Iterator[FoundSequence]:
    # white and black are of no class; they occur at the edges of regions
    table = {**CHOLECSEG8K_CLASSES, 254: ("", (0, 0, 0)), 255: ("", (255, 255, 255))}
    wanted = frozenset(CHOLECSEG8K_CLASSES) - {0}
    make = partial(ColourSequence, table=table, wanted=wanted)
    for clip in _folders_with(folder, "frame_*_endo.png"):
        images = image_files(clip)
        frames = [path for path in images if path.stem.endswith("_endo")]
        labels = [path for path in images if path.stem.endswith("_endo_color_mask")]
        yield FoundSequence(
            _name(clip, folder), frames, labels, lambda p: p.stem.removesuffix("_color_mask"), make
        )


@dataclass(eq=False)
class _OneMask(FileSequence):
    """Frames with masks of one object, whose non-zero pixels have one id."""

    mask_id: int = 1

    def decode(self, path: Path) -> np.ndarray:
        return read_instrument_mask(path).astype(np.uint16) * np.uint16(self.mask_id)


def _dsad(folder: Path) -> Iterator[FoundSequence]:
    ids = {name: number for number, name in DSAD_CLASSES.items()}
    for surgery in _folders_with(folder, "image*.png"):
        organ = surgery.absolute().parent.name
        if organ not in ids:
            continue  # the folder "multilabel" has masks of several organs
        images = image_files(surgery)
        yield FoundSequence(
            _name(surgery, folder),
            [path for path in images if path.stem.startswith("image")],
            [path for path in images if re.fullmatch(r"mask\d+", path.stem)],
            lambda path: path.stem.replace("mask", "image"),
            partial(_OneMask, mask_id=ids[organ]),
        )


def _robust_mis(folder: Path) -> Iterator[FoundSequence]:
    for frame in _folders_with(folder, "raw.png"):
        labels = frame / "instrument_instances.png"
        yield FoundSequence(
            _name(frame, folder),
            [frame / "raw.png"],
            [labels] if labels.is_file() else [],
            lambda path: "raw",
        )


def _sar_rarp50(folder: Path) -> Iterator[FoundSequence]:
    for labels in sorted(folder.rglob("segmentation"), key=lambda p: natural_key(str(p))):
        if not labels.is_dir():
            continue
        frames = image_files(labels.parent / "rgb")
        if not frames:
            raise DatasetError(
                f"{labels.parent} has no frames in the folder rgb: extract them from "
                "video_left.avi with the toolkit of SAR-RARP50 (rarptk unpack FOLDER -r), so that "
                "every file in the folder segmentation has a frame of its name"
            )
        name = _name(labels.parent, folder)
        yield FoundSequence(name, frames, image_files(labels), _same_stem)


def _endoscapes(folder: Path) -> Iterator[FoundSequence]:
    places = [path for path in sorted(folder.rglob("semseg")) if path.is_dir()]
    if not places:
        return
    masks = places[0]
    pictures: dict[str, Path] = {}
    for path in masks.parent.rglob("*.jpg"):
        pictures.setdefault(path.stem, path)
    videos: dict[str, list[Path]] = defaultdict(list)
    for label in image_files(masks):
        videos[label.stem.rpartition("_")[0]].append(label)
    for video in sorted(videos, key=natural_key):
        labels = videos[video]
        frames = [pictures[label.stem] for label in labels if label.stem in pictures]
        yield FoundSequence(video, frames, labels, _same_stem)


LAYOUTS: dict[str, Layout] = {
    "cholecseg8k": Layout(
        "CholecSeg8k",
        "video01/video01_00080/frame_80_endo.png",
        _cholecseg8k,
        {i: name for i, (name, _) in CHOLECSEG8K_CLASSES.items() if i},
    ),
    "dsad": Layout(
        "the Dresden Surgical Anatomy Dataset", "liver/03/image00.png", _dsad, DSAD_CLASSES
    ),
    "robust-mis": Layout(
        "ROBUST-MIS", "Training/Proctocolectomy/Prokto1/1280/raw.png", _robust_mis
    ),
    "sar-rarp50": Layout(
        "SAR-RARP50", "video_1/segmentation/000000060.png", _sar_rarp50, SAR_RARP50_CLASSES
    ),
    "endoscapes": Layout("Endoscapes2023", "semseg/12_24500.png", _endoscapes, ENDOSCAPES_CLASSES),
}
"""The layouts by the names that the commands take."""
