"""The truth as an evaluation needs it: sequences of frames with label maps.

One small type between the datasets and the metrics. Label maps are read when asked
for and not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surgsam2.evaluation.labels import LabelFile, label_files, label_folders, label_ids, read_labels
from surgsam2.evaluation.parallel import parallel_map
from surgsam2.evaluation.problems import Problems
from surgsam2.evaluation.scores import ObjectScores, SequenceScores

if TYPE_CHECKING:
    from surgsam2.video import Video


@dataclass(frozen=True)
class TruthSequence:
    """One sequence of a dataset."""

    name: str
    frames: tuple[str, ...]
    """Names of all frames in order, without extension."""
    read: Callable[[int], LabelFile | None] = field(repr=False)
    """The label map of a frame by index; None for a frame that is not annotated."""
    open: Callable[[], Video] | None = field(default=None, repr=False)
    """Opens the frames; None where only labels are known."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Object id -> name, where the dataset has names."""
    classes: Mapping[int, int] = field(default_factory=dict)
    """Object id -> class, where the dataset has classes."""

    def labels(self, index: int) -> np.ndarray:
        """The (H, W) label map of a frame whose label map `scan` could read."""
        file = self.read(index)
        assert file is not None
        assert file.labels is not None
        return file.labels


@dataclass(frozen=True)
class Scan:
    """What a first look at all label maps of a sequence finds."""

    sequence: TruthSequence
    annotated: tuple[int, ...]
    """Indices of the frames whose label map can be read."""
    first_frames: dict[int, int]
    """Object id -> index of the first annotated frame where it appears."""

    @property
    def classes(self) -> dict[int, int]:
        """Object id -> class; an object without a class stands for itself."""
        return {i: self.sequence.classes.get(i, i) for i in self.first_frames}

    def new_scores(self) -> SequenceScores:
        """Empty scores for the objects that were found."""
        objects = {
            object_id: ObjectScores(
                self.sequence.name,
                object_id,
                name=self.sequence.names.get(object_id, ""),
                class_id=self.sequence.classes.get(object_id),
                prompt_frame=first,
            )
            for object_id, first in sorted(self.first_frames.items())
        }
        return SequenceScores(self.sequence.name, objects)


def scan(sequence: TruthSequence, problems: Problems) -> Scan:
    """Find the annotated frames and the objects; unreadable label maps are named.

    Needed before the first frame is scored: an object counts before it appears, too.
    """

    def look(index: int) -> tuple[LabelFile | None, list[int]]:
        file = sequence.read(index)
        if file is None or file.labels is None:
            return file, []
        ids = label_ids(file.labels)
        return LabelFile(file.labels[:0, :0], file.problem, file.message), ids

    annotated = []
    first_frames: dict[int, int] = {}
    for index, (file, ids) in enumerate(parallel_map(look, range(len(sequence.frames)))):
        if file is None:
            continue
        if file.labels is None:
            problems.add("truth-unreadable", sequence.name, file.message, sequence.frames[index])
            continue
        annotated.append(index)
        for object_id in ids:
            first_frames.setdefault(object_id, index)
    if len(annotated) <= 2:
        problems.add(
            "not-counted", sequence.name, f"{len(annotated)} annotated frames, davis skips two"
        )
    if not first_frames:
        problems.add("no-object", sequence.name, "no annotated frame has an object")
    return Scan(sequence, tuple(annotated), first_frames)


def label_sequences(
    root: Path, class_names: Mapping[int, str] | None = None
) -> dict[str, TruthSequence]:
    """Folders of label PNGs as truth; see `labels.label_folders`.

    Frames are found in ``JPEGImages`` beside ``Annotations``, if that is the layout and
    every label has its frame.
    class_names: given when the values of the PNGs are classes, not objects.
    """
    return {
        name: _label_sequence(name, folder, class_names or {})
        for name, folder in label_folders(root).items()
    }


def _label_sequence(name: str, folder: Path, class_names: Mapping[int, str]) -> TruthSequence:
    files = label_files(folder)
    images = _images_beside(folder)
    with_images = bool(images) and set(files) <= set(images)
    frames = tuple(images if with_images else files)

    def read(index: int) -> LabelFile | None:
        path = files.get(frames[index])
        return None if path is None else read_labels(path)

    def open_images() -> Video:
        from surgsam2.data.sequence import read_image
        from surgsam2.evaluation.frames import FramesVideo

        paths = list(images.values())
        return FramesVideo(name, len(paths), lambda index: read_image(paths[index]))

    return TruthSequence(
        name,
        frames,
        read,
        open_images if with_images else None,
        names=class_names,
        classes={number: number for number in class_names},
    )


def _images_beside(labels: Path) -> dict[str, Path]:
    """Frame name -> image, from ``JPEGImages`` beside the ``Annotations`` of a label folder."""
    parts = list(labels.absolute().parts)
    if "Annotations" not in parts:
        return {}
    parts[len(parts) - 1 - parts[::-1].index("Annotations")] = "JPEGImages"
    folder = Path(*parts)
    if not folder.is_dir():
        return {}
    from surgsam2.data.sequence import image_files

    return {path.stem: path for path in image_files(folder)}
