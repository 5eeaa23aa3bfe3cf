"""The dataset of a protocol as truth: which reader, which split, which classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from surgsam2.data import EndoVis17, EndoVis18, VOSDataset
from surgsam2.data.endovis import instrument_type
from surgsam2.data.sequence import Dataset, Sequence
from surgsam2.errors import DatasetError, InputError
from surgsam2.evaluation.frames import FramesVideo
from surgsam2.evaluation.labels import LabelFile
from surgsam2.evaluation.problems import Problems
from surgsam2.evaluation.protocols import Protocol
from surgsam2.evaluation.truth import TruthSequence, label_sequences

Values = Literal["objects", "classes"]
"""What the pixel values of label PNGs are."""

ENDOVIS17_FRAME = (1080, 1920)
ENDOVIS17_PICTURE = (slice(28, 28 + 1024), slice(320, 320 + 1280))
"""Rows and columns of the picture inside a raw EndoVis 2017 frame; the rest is black.
Published results are on this part (TernausNet's and ISINet's preparation)."""


@dataclass(frozen=True)
class Truth:
    """What is to be evaluated."""

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
    """The sequences to evaluate, in order.

    ``folder/JPEGImages`` means DAVIS' layout, which serves every protocol; otherwise the
    raw release of EndoVis is expected. What cannot be used is named in `problems`.

    Args:
        split: of the protocol; its default when None.
        only: names of sequences, instead of a split.
        values: in DAVIS' layout, whether pixel values are objects or the protocol's classes.
        labels_only: accept folders of label PNGs without frames.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder")
    if values == "classes" and not protocol.class_names:
        raise InputError(f"protocol {protocol.name} has no classes, so values cannot be classes")
    raw = _is_raw(folder, protocol)
    class_names: Mapping[int, str] = protocol.class_names if values == "classes" or raw else {}
    if labels_only and not raw:
        known = label_sequences(folder, class_names)
        names = _choose(list(known), protocol, problems, split, only, folder)
        return Truth([known[name] for name in names], class_names)
    dataset = _open_dataset(folder, protocol)
    if dataset.skipped.counts:
        message = str(dataset.skipped).replace(f"{folder}/", "")
        problems.add("truth-skipped", folder.absolute().name, message)
    by_name = {sequence.name: sequence for sequence in dataset}
    names = _choose(list(by_name), protocol, problems, split, only, folder)
    if raw and protocol.name == "endovis18":
        class_names = {i: n for name in names for i, n in by_name[name].object_names.items()}
    return Truth([_as_truth(by_name[name], protocol, class_names) for name in names], class_names)


def _is_raw(folder: Path, protocol: Protocol) -> bool:
    """Whether a folder is a raw EndoVis release: it has left frames."""
    if protocol.name == "vos" or (folder / "JPEGImages").is_dir():
        return False
    patterns = ("left_frame*", "*/left_frame*", "*/*/left_frame*", "*/*/*/left_frame*")
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def _open_dataset(folder: Path, protocol: Protocol) -> Dataset:
    if protocol.name == "endovis17":
        return EndoVis17(folder)
    if protocol.name == "endovis18":
        return EndoVis18(folder)
    return VOSDataset(folder)


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
        return only
    chosen, absent = protocol.choose(known, split)
    for name in absent:
        problems.add("absent-sequence", name, f"not in the dataset folder {folder.name}")
    return chosen


def _as_truth(
    sequence: Sequence, protocol: Protocol, class_names: Mapping[int, str]
) -> TruthSequence:
    part = _picture(sequence, protocol)
    stems = [path.stem for path in getattr(sequence, "frame_paths", ())]
    frames = tuple(stems or [f"{i:05d}" for i in range(len(sequence))])
    names = sequence.object_names or class_names
    classes = {}
    if class_names:
        typed = protocol.name == "endovis17" and sequence.object_names
        for i in sequence.object_ids:
            classes[i] = instrument_type(sequence.object_names[i]) if typed else i

    def read(index: int) -> LabelFile | None:
        try:
            labels = sequence.read_labels(index)
        except DatasetError as error:
            return LabelFile(None, "truth-unreadable", str(error))
        return None if labels is None else LabelFile(labels[part])

    return TruthSequence(
        sequence.name,
        frames,
        read,
        lambda: FramesVideo(
            sequence.name, len(sequence), lambda index: sequence.read_frame(index)[part]
        ),
        names={i: names[i] for i in sequence.object_ids if i in names},
        classes=classes,
    )


def _picture(sequence: Sequence, protocol: Protocol) -> tuple[slice, slice]:
    whole = (slice(None), slice(None))
    if protocol.name != "endovis17":
        return whole
    shape: tuple[int, ...] = np.shape(sequence.read_frame(0))
    return ENDOVIS17_PICTURE if shape[:2] == ENDOVIS17_FRAME else whole
