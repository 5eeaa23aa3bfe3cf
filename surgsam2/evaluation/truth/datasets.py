"""Opening of a protocol's dataset as truth: its reader, its split and its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from surgsam2.data import LAYOUTS, Dataset, EndoVis17, EndoVis18, SurgicalDataset
from surgsam2.data.endovis import instrument_type
from surgsam2.data.label_reader import LabelFile
from surgsam2.data.sequence import Sequence
from surgsam2.errors import DatasetError, InputError
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.evaluation.truth.protocols import Protocol
from surgsam2.evaluation.truth.sequences import (
    SequenceVideo,
    TruthSequence,
    label_sequences,
    usable_images,
)

Values = Literal["objects", "classes"]
"""Meaning of the pixel values of label PNGs."""

ENDOVIS17_FRAME = (1080, 1920)
"""(height, width) of a raw EndoVis 2017 frame in pixels."""
ENDOVIS17_PICTURE = (slice(28, 28 + 1024), slice(320, 320 + 1280))
"""Rows and columns of the picture inside a raw EndoVis 2017 frame; the rest is black.
Published results are computed on this part (the preparation of TernausNet and ISINet)."""


@dataclass(frozen=True)
class Truth:
    """The sequences to evaluate, with the names of their classes."""

    sequences: list[TruthSequence]
    class_names: Mapping[int, str]
    """Class -> name; empty where objects have no classes."""


def open_truth(
    folder: Path,
    protocol: Protocol,
    problems: Problems,
    *,
    split: str | None = None,
    only: list[str] | None = None,
    values: Values = "objects",
    labels_only: bool = False,
) -> Truth:
    """Open the sequences to evaluate, in order.

    A folder with ``JPEGImages`` has DAVIS' layout, which every protocol accepts. Any other folder
    is expected to be as the protocol's dataset is published.

    Args:
        folder: Folder of the dataset.
        protocol: Protocol to evaluate by.
        problems: Receives an entry for everything that cannot be used.
        split: Split of the protocol; None takes its default.
        only: Names of sequences, instead of a split.
        values: In DAVIS' layout, whether pixel values are objects or the protocol's classes.
        labels_only: Accept folders of label PNGs without frames. Sequences with frames are
            read in the same way whether this is set or not.

    Raises:
        DatasetError: The folder does not have an expected layout or lacks the split.
        InputError: A split or a sequence is unknown, or the protocol has no classes.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder")
    if values == "classes" and not protocol.class_names:
        raise InputError(f"protocol {protocol.name} has no classes, so values cannot be classes")
    raw = _is_raw(folder, protocol)
    class_names: Mapping[int, str] = protocol.class_names if values == "classes" or raw else {}
    if not raw:
        if not labels_only:
            _check_layout(folder, protocol)
        known = label_sequences(folder, class_names, problems)
        names = _choose(list(known), protocol, problems, split, only, folder)
        if not labels_only:
            names = _with_frames(names, known, problems)
        return Truth([known[name] for name in names], class_names)
    dataset = _open_raw(folder, protocol)
    if dataset.skipped.counts:
        message = str(dataset.skipped).replace(f"{folder}/", "")
        problems.add("truth-skipped", folder.absolute().name, message)
    by_name = {sequence.name: sequence for sequence in dataset}
    names = _choose(list(by_name), protocol, problems, split, only, folder)
    if protocol.name == "endovis18":
        # The release's own table also names classes that none of these sequences has.
        tables = [getattr(by_name[name], "table", {}) for name in names]
        class_names = {i: row[0] for table in tables for i, row in table.items() if i}
    return Truth([_as_truth(by_name[name], protocol, class_names) for name in names], class_names)


def _open_raw(folder: Path, protocol: Protocol) -> Dataset:
    if protocol.name in LAYOUTS:
        return SurgicalDataset(folder, protocol.name)
    return EndoVis17(folder) if protocol.name == "endovis17" else EndoVis18(folder)


def _is_raw(folder: Path, protocol: Protocol) -> bool:
    """Return whether a folder is a dataset as it is published, not one in DAVIS' layout.

    A raw EndoVis release has ``left_frame*`` folders.
    """
    if protocol.name == "vos" or (folder / "JPEGImages").is_dir():
        return False
    if protocol.name in LAYOUTS:
        return True
    patterns = ("left_frame*", "*/left_frame*", "*/*/left_frame*", "*/*/*/left_frame*")
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def _check_layout(folder: Path, protocol: Protocol) -> None:
    """Raise `DatasetError` unless a folder has DAVIS' layout."""
    for part in ("JPEGImages", "Annotations"):
        if not (folder / part).is_dir():
            raw = "" if protocol.name == "vos" else " It is no raw release either: no left_frames."
            raise DatasetError(
                f"{folder} has no folder {part}; expected JPEGImages/<sequence>/00000.jpg and "
                f"Annotations/<sequence>/00000.png.{raw}"
            )


def _with_frames(
    names: list[str], known: Mapping[str, TruthSequence], problems: Problems
) -> list[str]:
    """Return the names of the sequences that have frames; add the others to `problems`."""
    for name in names:
        if known[name].open is None:
            problems.add("truth-skipped", name, "annotated sequence without frames")
    names = [name for name in names if known[name].open is not None]
    if not names:
        raise DatasetError("no annotated sequence has its frames in JPEGImages")
    return names


def _choose(
    known: list[str],
    protocol: Protocol,
    problems: Problems,
    split: str | None,
    only: list[str] | None,
    folder: Path,
) -> list[str]:
    if only:
        absent = [name for name in only if name not in known]
        if absent:
            raise InputError(
                f"sequence {', '.join(absent)} is not in {folder} (it has {', '.join(known)})"
            )
        return list(dict.fromkeys(only))
    chosen, absent = protocol.choose(known, split)
    for name in absent:
        problems.add("absent-sequence", name, f"not in the dataset folder {folder.name}")
    return chosen


def _as_truth(
    sequence: Sequence, protocol: Protocol, class_names: Mapping[int, str]
) -> TruthSequence:
    """Convert a sequence of a raw EndoVis release."""
    part = _picture(sequence, protocol)
    paths = {path.stem: path for path in getattr(sequence, "frame_paths", ())}
    left_out: list[tuple[str, str]] = []
    usable, _ = usable_images(paths, left_out)
    positions = [i for i, frame in enumerate(paths) if frame in usable]
    if protocol.name == "endovis17":
        classes = {i: instrument_type(name) for i, name in sequence.object_names.items()}
    else:
        classes = {i: i for i in class_names}

    def read(index: int) -> LabelFile | None:
        try:
            labels = sequence.read_labels(positions[index])
        except DatasetError as error:
            return LabelFile(None, "truth-unreadable", str(error))
        return None if labels is None else LabelFile(labels[part])

    return TruthSequence(
        sequence.name,
        tuple(usable),
        read,
        lambda: SequenceVideo(
            sequence.name, len(usable), lambda index: sequence.read_frame(positions[index])[part]
        ),
        names=sequence.object_names,
        classes=classes,
        left_out=tuple(left_out),
    )


def _picture(sequence: Sequence, protocol: Protocol) -> tuple[slice, slice]:
    whole = (slice(None), slice(None))
    if protocol.name != "endovis17":
        return whole
    shape: tuple[int, ...] = np.shape(sequence.read_frame(0))
    return ENDOVIS17_PICTURE if shape[:2] == ENDOVIS17_FRAME else whole
