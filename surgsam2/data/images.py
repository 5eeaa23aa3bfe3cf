"""Still images with masks, as videos of one frame each."""

from __future__ import annotations

from pathlib import Path

from surgsam2.data.sequence import Dataset, Sequence, Skipped, image_files, scan_pairs
from surgsam2.errors import DatasetError


class ImageDataset(Dataset):
    """Images of one folder and indexed PNGs with the same names in another.

    Each image is a sequence of one frame, named after its file. Images whose mask is missing,
    empty or unusable are left out and logged.

    Args:
        images: folder of the images.
        masks: folder of the masks.

    Raises:
        DatasetError: a folder does not exist, or nothing can be used.
    """

    def __init__(self, images: str | Path, masks: str | Path) -> None:
        images, masks = Path(images), Path(masks)
        for folder in (images, masks):
            if not folder.is_dir():
                raise DatasetError(f"{folder} is not a folder")
        skipped = Skipped()
        by_stem = {path.stem: path for path in image_files(masks)}
        found: list[Sequence] = []
        for image in image_files(images):
            mask = by_stem.pop(image.stem, None)
            if mask is None:
                skipped.add("image without a mask", image)
                continue
            sequence = scan_pairs(image.stem, [image], [mask], skipped)
            if sequence is not None:
                found.append(sequence)
        for orphan in by_stem.values():
            skipped.add("annotation without its frame", orphan)
        super().__init__(found, skipped, images)
