"""Sequences of frames with true label maps, the form in which an evaluation reads any dataset.

Label maps are read when they are needed and are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from surgsam2.data.label_reader import (
    RESOLUTIONS,
    LabelFile,
    label_files,
    label_folders,
    label_ids,
    read_labels,
)
from surgsam2.data.sequence import image_files, image_size, read_image
from surgsam2.errors import DatasetError, VideoError
from surgsam2.evaluation.metrics.scores import ObjectScores, SequenceScores
from surgsam2.evaluation.parallel import parallel_map
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.storage.mask_values import VOID, has_void
from surgsam2.video.base import DEFAULT_FPS, Video


@dataclass(frozen=True)
class TruthSequence:
    """One sequence of a dataset with its true label maps."""

    name: str
    frames: tuple[str, ...]
    """Names of all frames in order, without file extension."""
    read: Callable[[int], LabelFile | None] = field(repr=False)
    """Reads the label map of a frame by index; returns None for a frame without annotation."""
    open: Callable[[], Video] | None = field(default=None, repr=False)
    """Opens the frames as a video; None where only label maps are available."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Object id -> name, where the dataset has names."""
    classes: Mapping[int, int] = field(default_factory=dict)
    """Id -> class, where the dataset has classes."""
    shape: tuple[int, int] | None = None
    """(height, width) of the frames, which label maps must match. None where only label maps
    are available; then the first readable one sets the size."""
    left_out: tuple[tuple[str, str], ...] = ()
    """(reason, frame name) of files that were left out while opening."""

    def labels(self, index: int) -> np.ndarray:
        """Return the (H, W) label map of a frame that `scan` listed as annotated."""
        file = self.read(index)
        assert file is not None
        assert file.labels is not None
        return file.labels


class SequenceVideo(Video):
    """Frames of a sequence as a video, read by index by a function.

    Args:
        name: Name of the sequence, for messages.
        count: Number of frames.
        read: Index -> (H, W, 3) uint8 RGB. It is called from several threads.
    """

    def __init__(self, name: str, count: int, read: Callable[[int], np.ndarray]) -> None:
        height, width = read(0).shape[:2]
        super().__init__(name, width=width, height=height, fps=DEFAULT_FPS, frame_count=count)
        self._read_frame = read

    def _read(self, index: int) -> np.ndarray:
        frame = self._read_frame(index)
        if frame.shape[:2] != (self.height, self.width):
            raise VideoError(
                f"{self.source}: frame {index} has {frame.shape[1]}x{frame.shape[0]} pixels, "
                f"but the first frame has {self.width}x{self.height}"
            )
        return np.array(frame, order="C")


@dataclass(frozen=True)
class Scan:
    """A sequence with its annotated frames and its objects, as one pass over it found them."""

    sequence: TruthSequence
    annotated: tuple[int, ...]
    """Indices of the frames whose label map can be read, ascending."""
    first_frames: dict[int, int]
    """Object id -> index of the first annotated frame where it appears."""

    @property
    def classes(self) -> dict[int, int]:
        """Object id -> class. An object without a class is a class of its own."""
        return {i: self.sequence.classes.get(i, i) for i in self.first_frames}

    def _class_id(self, object_id: int) -> int | None:
        return self.classes[object_id] if self.sequence.classes else None

    def new_scores(self) -> SequenceScores:
        """Return empty scores for the objects that were found."""
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
    """Find the annotated frames and the objects of a sequence.

    This has to be known before the first frame is scored, because an object also counts
    before it appears. A label map of another size than the others is left out. Where a
    sequence of 8-bit values has other ids as well, the value 255 is void, as in DAVIS;
    alone it is an object.

    Args:
        sequence: The sequence to read.
        problems: Receives an entry for everything that cannot be used.
    """

    def read(index: int) -> tuple[LabelFile | None, tuple[int, ...], list[int]]:
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
    for index, (file, shape, ids) in enumerate(parallel_map(read, range(len(sequence.frames)))):
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
    if has_void(first_frames):
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
    """Open folders of label PNGs as truth, in the layouts of `label_folders`.

    Frames are read from ``JPEGImages`` beside ``Annotations``, where that is the layout.

    Args:
        root: Folder of the dataset or of the label PNGs.
        class_names: Class -> name, when the values of the PNGs are classes, not objects.
        problems: Receives an entry for each PNG that belongs to no sequence.

    Returns:
        Sequence name -> sequence.

    Raises:
        DatasetError: `root` is not a folder, or no label PNG is in it.
    """
    labels = label_folders(root)
    if problems is not None:
        problems.add_stray_files(labels.stray, root.absolute().name)
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
        paths = list(images.values())
        return SequenceVideo(name, len(paths), lambda index: read_image(paths[index]))

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
    """Select the images that can be read and have the size of the first one.

    Only the header and the end of each file are read.

    Args:
        images: Frame name -> file.
        left_out: Receives (reason, frame name) of every other image.

    Returns:
        The selected images, and their (height, width), which is None without any.
    """
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
    """Find the images of a label folder: those in ``JPEGImages`` beside ``Annotations``."""
    parts = list(labels.absolute().parts)
    if "Annotations" not in parts:
        return {}
    at = len(parts) - 1 - parts[::-1].index("Annotations")
    rest = [part for part in parts[at + 1 :] if part not in RESOLUTIONS]
    folders = [Path(*parts[:at], "JPEGImages", *parts[at + 1 :])]
    # Either of the two trees may lack DAVIS' resolution folder.
    folders += [Path(*parts[:at], "JPEGImages", *level, *rest) for level in ((), *zip(RESOLUTIONS))]
    found = next((files for folder in folders if (files := image_files(folder))), [])
    return {path.stem: path for path in found}
