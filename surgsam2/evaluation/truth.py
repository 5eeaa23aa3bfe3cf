"""The truth as an evaluation needs it: sequences of frames with label maps.

One small type between the datasets and the metrics. Label maps are read when asked
for and not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surgsam2.data.label_reader import (
    RESOLUTIONS,
    LabelFile,
    label_files,
    label_folders,
    label_ids,
    read_labels,
)
from surgsam2.errors import DatasetError
from surgsam2.evaluation.parallel import parallel_map
from surgsam2.evaluation.problems import Problems
from surgsam2.evaluation.scores import ObjectScores, SequenceScores

if TYPE_CHECKING:
    from surgsam2.video import Video


VOID = 255
"""Value of pixels that DAVIS leaves undecided."""


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
    """Id -> class, where the dataset has classes."""
    shape: tuple[int, int] | None = None
    """(height, width) of the frames, which label maps must have; None where only labels
    are known: then the first readable one says it."""
    left_out: tuple[tuple[str, str], ...] = ()
    """(reason, frame name) of files that were left out while opening."""

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

    def _class_id(self, object_id: int) -> int | None:
        return self.classes[object_id] if self.sequence.classes else None

    def new_scores(self) -> SequenceScores:
        """Empty scores for the objects that were found."""
        objects = {
            object_id: ObjectScores(
                self.sequence.name,
                object_id,
                name=self.sequence.names.get(object_id, ""),
                class_id=self._class_id(object_id),
                prompt_frame=first,
            )
            for object_id, first in sorted(self.first_frames.items())
        }
        return SequenceScores(self.sequence.name, objects)


def scan(sequence: TruthSequence, problems: Problems) -> Scan:
    """Find the annotated frames and the objects; what cannot be used is named.

    Needed before the first frame is scored: an object counts before it appears, too.
    A label map of another size than the others is left out. The value 255 is void, as in
    DAVIS, where a sequence of 8-bit values has other ids too; alone it is an object.
    """

    def look(index: int) -> tuple[LabelFile | None, tuple[int, ...], list[int]]:
        file = sequence.read(index)
        if file is None or file.labels is None:
            return file, (), []
        shape, ids = file.labels.shape, label_ids(file.labels)
        return LabelFile(file.labels[:0, :0], file.problem, file.message), shape, ids

    for reason, frame in sequence.left_out:
        problems.add("truth-skipped", sequence.name, reason, frame)
    annotated = []
    first_frames: dict[int, int] = {}
    expected: tuple[int, ...] | None = sequence.shape
    for index, (file, shape, ids) in enumerate(parallel_map(look, range(len(sequence.frames)))):
        if file is None:
            continue
        frame = sequence.frames[index]
        if file.labels is None:
            problems.add("truth-unreadable", sequence.name, file.message, frame)
            continue
        expected = expected or shape
        if shape != expected:
            sizes = f"{shape[1]}x{shape[0]} where the first is {expected[1]}x{expected[0]}"
            problems.add("truth-size", sequence.name, f"the truth has {sizes}", frame)
            continue
        if file.problem:
            problems.add(file.problem, sequence.name, f"the truth is a {file.message}", frame)
        annotated.append(index)
        for object_id in ids:
            first_frames.setdefault(object_id, index)
    if VOID in first_frames and len(first_frames) > 1 and max(first_frames) == VOID:
        del first_frames[VOID]
        sequence = replace(sequence, read=partial(_without_void, sequence.read))
        problems.add("void", sequence.name, "the truth has the value 255 beside object ids")
    _name_uncounted(sequence.name, annotated, first_frames, problems)
    return Scan(sequence, tuple(annotated), first_frames)


def _without_void(read: Callable[[int], LabelFile | None], index: int) -> LabelFile | None:
    file = read(index)
    if file is None or file.labels is None:
        return file
    return replace(file, labels=np.where(file.labels == VOID, 0, file.labels))


def _name_uncounted(
    name: str, annotated: list[int], first_frames: Mapping[int, int], problems: Problems
) -> None:
    if not first_frames:
        problems.add("no-object", name, "no annotated frame has an object")
    if len(annotated) <= 2:
        problems.add("not-counted", name, f"{len(annotated)} annotated frames, davis skips two")
        return
    late = [str(i) for i, first in sorted(first_frames.items()) if first >= annotated[-2]]
    if late:
        message = f"object {', '.join(late)} first seen on the last two frames"
        problems.add("not-counted", name, f"{message}, surgsam2 skips two from there")


def label_sequences(
    root: Path,
    class_names: Mapping[int, str] | None = None,
    problems: Problems | None = None,
) -> dict[str, TruthSequence]:
    """Folders of label PNGs as truth; see `labels.label_folders`.

    Frames are found in ``JPEGImages`` beside ``Annotations``, if that is the layout.
    class_names: given when the values of the PNGs are classes, not objects.
    problems: where PNGs that belong to no sequence are named.
    """
    labels = label_folders(root)
    if problems is not None:
        problems.add_stray_files(labels, root.absolute().name)
    return {
        name: _label_sequence(name, folder, class_names or {})
        for name, folder in labels.folders.items()
    }


def _label_sequence(name: str, folder: Path, class_names: Mapping[int, str]) -> TruthSequence:
    files = label_files(folder)
    left_out: list[tuple[str, str]] = []
    images, shape = usable_images(_images_beside(folder), left_out)
    with_images = not set(files).isdisjoint(images)
    if with_images:
        bad = {frame for _, frame in left_out}
        lone = [frame for frame in files if frame not in images and frame not in bad]
        left_out += [("label without its frame", frame) for frame in lone]
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
        shape=shape if with_images else None,
        left_out=tuple(left_out) if with_images else (),
    )


def usable_images(
    images: Mapping[str, Path], left_out: list[tuple[str, str]]
) -> tuple[dict[str, Path], tuple[int, int] | None]:
    """The images that can be read and have the first one's size, and that (height, width).

    The others are added to `left_out` with the reason. Only headers and ends are read.
    """
    from surgsam2.data.sequence import image_size

    good: dict[str, Path] = {}
    shape: tuple[int, int] | None = None
    for frame, path in images.items():
        try:
            width, height = image_size(path)
        except DatasetError:
            left_out.append(("unreadable image", frame))
            continue
        shape = shape or (height, width)
        if (height, width) != shape:
            sizes = f"{width}x{height} where the first has {shape[1]}x{shape[0]}"
            left_out.append((f"image of {sizes}", frame))
            continue
        good[frame] = path
    return good, shape


def _images_beside(labels: Path) -> dict[str, Path]:
    """Frame name -> image, from ``JPEGImages`` beside the ``Annotations`` of a label folder."""
    parts = list(labels.absolute().parts)
    if "Annotations" not in parts:
        return {}
    from surgsam2.data.sequence import image_files

    at = len(parts) - 1 - parts[::-1].index("Annotations")
    rest = [part for part in parts[at + 1 :] if part not in RESOLUTIONS]
    folders = [Path(*parts[:at], "JPEGImages", *parts[at + 1 :])]
    # one of the two may lack DAVIS' resolution folder
    folders += [Path(*parts[:at], "JPEGImages", *level, *rest) for level in ((), *zip(RESOLUTIONS))]
    found = next((files for folder in folders if (files := image_files(folder))), [])
    return {path.stem: path for path in found}
