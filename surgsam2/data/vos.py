"""Datasets in the layout of DAVIS and of most video object segmentation data.

::

    folder/JPEGImages/<sequence>/00000.jpg ...     (or .png; DAVIS's 480p level is accepted)
    folder/Annotations/<sequence>/00000.png ...    palette, 8-bit or 16-bit; value = object id

or, for a single sequence, the frames directly in ``JPEGImages`` and ``Annotations``.
The layout is described at https://davischallenge.org/davis2017/code.html.
"""

from __future__ import annotations

from collections.abc import Sequence as Names
from pathlib import Path

from surgsam2.data.sequence import Dataset, Sequence, Skipped, image_files, natural_key, scan_pairs
from surgsam2.errors import DatasetError

_RESOLUTIONS = ("480p", "Full-Resolution")


class VOSDataset(Dataset):
    """The sequences of a folder in the VOS layout.

    Frames without annotation are kept: a tracker may follow objects through them. Opening
    reads every annotation once. Files that cannot be used are left out and logged.

    Args:
        folder: has `JPEGImages` and `Annotations`.
        sequences: names of the sequences to use, in that order; None uses all.

    Raises:
        DatasetError: nothing can be used, or a name does not exist.
    """

    def __init__(self, folder: str | Path, sequences: Names[str] | None = None) -> None:
        folder = Path(folder)
        images, annotations = _level(folder, "JPEGImages"), _level(folder, "Annotations")
        names = sorted((p.name for p in images.iterdir() if p.is_dir()), key=natural_key)
        skipped = Skipped()
        found: list[Sequence] = []
        flat = not names and bool(image_files(images))
        if flat:
            names = [folder.name]
        for name in sequences if sequences is not None else names:
            if name not in names:
                raise DatasetError(f"{images} has no sequence {name!r}; it has {', '.join(names)}")
            frames = image_files(images if flat else images / name)
            labels = image_files(annotations if flat else annotations / name)
            sequence = scan_pairs(name, frames, labels, skipped)
            if sequence is not None:
                found.append(sequence)
        if sequences is None and not flat and annotations.is_dir():
            for orphan in sorted(annotations.iterdir()):
                if orphan.is_dir() and orphan.name not in names:
                    skipped.add("annotated sequence without frames", orphan)
        super().__init__(found, skipped, folder)


def _level(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_dir():
        raise DatasetError(
            f"{folder} has no folder {name}; expected JPEGImages/<sequence>/00000.jpg and "
            "Annotations/<sequence>/00000.png"
        )
    for resolution in _RESOLUTIONS:
        if (path / resolution).is_dir():
            return path / resolution
    return path
