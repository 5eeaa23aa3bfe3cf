"""Sequences of frames with instance labels, which every dataset gives.

A frame is (H, W, 3) uint8 RGB; labels are (H, W) uint16 with 0 for background and the
object's id elsewhere. A still image is a sequence of one frame.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from surgsam2.errors import DatasetError, ImageFileError
from surgsam2.storage.image_file import LOSSLESS_FORMATS, image_header, read_pixels, read_rgb
from surgsam2.storage.mask_values import VOID, has_void, palette_labels

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
_LISTED = 10
"""Largest number of file names per reason in an error; the log names all of them."""

_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}


class Skipped:
    """A record of the files that were left out, with the reason for each."""

    def __init__(self) -> None:
        self._files: dict[str, list[str]] = {}

    def add(self, reason: str, file: Path | str) -> None:
        """Note that `file` is left out."""
        self._files.setdefault(reason, []).append(str(file))

    @property
    def counts(self) -> dict[str, int]:
        """Number of files left out, by reason."""
        return {reason: len(files) for reason, files in self._files.items()}

    def __str__(self) -> str:
        return self._text(_LISTED)

    def _text(self, most: int | None = None) -> str:
        return "; ".join(
            f"{reason}: {len(files)} ({', '.join(files[:most])}"
            + (", ...)" if most is not None and len(files) > most else ")")
            for reason, files in self._files.items()
        )

    def report(self, where: Path | str) -> None:
        """Log one warning with every reason and every file name."""
        if self._files:
            # The text is complete before it is logged: equal templates count as repeats there.
            logger.warning(f"{where}: files were left out: {self._text()}")


class Sequence(ABC):
    """A video, or a still image, with labels for all or some of its frames."""

    name: str
    """Unique in its dataset."""
    object_ids: tuple[int, ...]
    """Ids that occur in the labels, ascending."""
    object_names: dict[int, str]
    """Names of the objects by id, where the dataset gives names."""
    annotated: tuple[int, ...]
    """Indices of the frames that have labels, ascending; at least one."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of frames."""

    @abstractmethod
    def read_frame(self, index: int) -> np.ndarray:
        """Read frame `index` (from 0): (H, W, 3) uint8 RGB."""

    @abstractmethod
    def read_labels(self, index: int) -> np.ndarray | None:
        """Read the labels of frame `index`: (H, W) uint16, or None where it is not annotated."""

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Read frame and labels of `index`."""
        return self.read_frame(index), self.read_labels(index)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        return (self.read(i) for i in range(len(self)))


@dataclass(eq=False)
class FileSequence(Sequence):
    """A sequence of image files, each with an indexed PNG or without labels."""

    name: str
    frame_paths: tuple[Path, ...]
    label_paths: tuple[Path | None, ...]
    object_ids: tuple[int, ...] = ()
    object_names: dict[int, str] = field(default_factory=dict)
    void: bool = field(default=False, kw_only=True)
    """Whether the value 255 is read as background."""

    def __post_init__(self) -> None:
        self.annotated = tuple(i for i, p in enumerate(self.label_paths) if p is not None)

    def __len__(self) -> int:
        return len(self.frame_paths)

    def read_frame(self, index: int) -> np.ndarray:
        """Read frame `index`: (H, W, 3) uint8 RGB."""
        return read_image(self.frame_paths[index])

    def read_labels(self, index: int) -> np.ndarray | None:
        """Read the labels of frame `index`: (H, W) uint16, or None."""
        path = self.label_paths[index]
        if path is None:
            return None
        labels = self.decode(path)
        return np.where(labels == VOID, np.uint16(0), labels) if self.void else labels

    def decode(self, path: Path) -> np.ndarray:
        """Read a label file: (H, W) uint16. Datasets with another encoding override this."""
        return read_indexed(path)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, {len(self)} frames, "
            f"{len(self.annotated)} annotated, objects {self.object_ids})"
        )


def read_image(path: Path) -> np.ndarray:
    """Read an image file: (H, W, 3) uint8 RGB.

    Orientation tags are not applied, because label files have none.

    Raises:
        DatasetError: the file is not a readable image.
    """
    try:
        return read_rgb(path, with_opencv=True)
    except ImageFileError as error:
        raise DatasetError(f"cannot read the image {error}") from error


def read_indexed(path: Path) -> np.ndarray:
    """Read the (H, W) uint16 object ids of a palette, 16-bit, 8-bit or 1-bit PNG, BMP or TIFF.

    Raises:
        DatasetError: the file cannot be read, is a colour image, or has values above 65535.
    """
    try:
        stored = read_pixels(path, formats=LOSSLESS_FORMATS)
    except ImageFileError as error:
        raise DatasetError(f"cannot read the labels {error}") from error
    if stored.mode == "F":
        raise DatasetError(f"{path} has fractions, which are not object ids from 0 to 65535")
    if stored.mode not in ("P", "L", "1", "I", "I;16", "I;16B"):
        raise DatasetError(
            f"{path} is a colour image ({stored.mode}); labels must be indexed: a palette, "
            "8-bit or 16-bit PNG whose pixel values are object ids"
        )
    values = palette_labels(stored) if stored.mode == "P" else stored.values
    if values.ndim != 2 or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise DatasetError(f"{path} has values that are not object ids from 0 to 65535")
    return values.astype(np.uint16)


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image file in pixels.

    Only the header and the end of the file are read, unless the end looks wrong.

    Raises:
        DatasetError: the file is damaged or cut off.
    """
    try:
        header = image_header(path)
        mark = _END_MARKS.get(header.format)
        if mark is not None and mark not in _tail(path):
            read_rgb(path)
        return header.width, header.height
    except (ImageFileError, OSError) as error:
        raise DatasetError(f"cannot read the image {error}") from error


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - 64, 0))
        return file.read()


def image_files(folder: Path) -> list[Path]:
    """List the image files of a folder in the order of their names (numbers as numbers)."""
    if not folder.is_dir():
        return []
    files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    return sorted(files, key=natural_key)


def natural_key(path: Path | str) -> list[tuple[int, int, str]]:
    """Return a sort key by which "frame10" comes after "frame9"."""
    name = path.stem if isinstance(path, Path) else path
    parts: list[tuple[int, int, str]] = []
    text = ""
    digits = ""
    for character in [*name, ""]:
        if character.isdigit() and character.isascii():
            if text:
                parts.append((1, 0, text))
                text = ""
            digits += character
        else:
            if digits:
                parts.append((0, int(digits), ""))
                digits = ""
            text += character
    if text:
        parts.append((1, 0, text))
    return parts


class Dataset:
    """A list of sequences, with a record of what was left out when it was opened."""

    def __init__(self, sequences: list[Sequence], skipped: Skipped, source: Path) -> None:
        skipped.report(source)
        self.skipped = skipped
        """Files that were left out, with the reasons."""
        if not sequences:
            why = f": {skipped}" if skipped.counts else ""
            raise DatasetError(f"{source} has no usable sequence with an annotated object{why}")
        self.sequences = tuple(sequences)

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> Sequence:
        return self.sequences[index]

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self.sequences)


def scan_pairs(
    name: str,
    frames: list[Path],
    labels: list[Path],
    skipped: Skipped,
    make: Callable[..., FileSequence] = FileSequence,
    frame_of: Callable[[Path], str] = lambda label: label.stem,
) -> FileSequence | None:
    """Make a sequence of the frames and labels that can be used.

    Every label file is read once to find its object ids; of frames only the header is read.

    Args:
        name: name of the sequence.
        frames: image files, in order.
        labels: label files, in any order.
        skipped: takes note of every file that is left out.
        make: class of the sequence.
        frame_of: returns the stem of the frame that a label file belongs to.

    Returns:
        The sequence, or None when no object is left.
    """
    by_stem: dict[str, Path] = {}
    for label in labels:
        by_stem[frame_of(label)] = label
    known = {frame.stem for frame in frames}
    for stem, label in by_stem.items():
        if stem not in known:
            skipped.add("annotation without its frame", label)
    sequence = make(name, (), ())
    good: list[tuple[Path, Path | None]] = []
    ids: set[int] = set()
    for frame in frames:
        try:
            size = image_size(frame)
        except DatasetError:
            skipped.add("unreadable image", frame)
            continue
        annotation = by_stem.get(frame.stem)
        if annotation is not None:
            annotation = _checked(sequence, annotation, size, ids, skipped)
        good.append((frame, annotation))
    if not ids:
        skipped.add("no object in the sequence", name)
        return None
    result = make(
        name,
        tuple(frame for frame, _ in good),
        tuple(label for _, label in good),
        tuple(sorted(ids - {VOID} if has_void(ids) else ids)),
    )
    result.void = has_void(ids)
    return result


def _checked(
    sequence: FileSequence, label: Path, size: tuple[int, int], ids: set[int], skipped: Skipped
) -> Path | None:
    """Return the label file if it can be used, else None; add its object ids to `ids`."""
    try:
        values = sequence.decode(label)
    except DatasetError as error:
        reasons = {
            "colour image": "colour PNG where an indexed one is expected",
            "not object ids": "values that are not object ids",
        }
        found = (reason for words, reason in reasons.items() if words in str(error))
        skipped.add(next(found, "unreadable annotation"), label)
        return None
    if values.shape != (size[1], size[0]):
        skipped.add("size differs from its frame's", label)
        return None
    ids.update(int(v) for v in np.unique(values) if v)
    return label
