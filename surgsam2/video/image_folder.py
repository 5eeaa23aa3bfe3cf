"""Which images of a folder are the frames of a video, and in which order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path

from surgsam2.errors import VideoError
from surgsam2.video.base import VIDEO_SUFFIXES

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
# Folders in which frames are searched if the folder of a dataset's sequence is given:
# that of EndoVis 2017/2018 (left camera), and names in common use.
_FRAME_FOLDERS = ("left_frames", "JPEGImages", "images", "frames", "img")

# A sign counts at the beginning or after a character that is no letter or digit; several dots
# make separate whole numbers, as in version numbers.
_NUMBER = re.compile(
    r"((?:(?<![A-Za-z0-9.])[-+])?(?:(?<![0-9]\.)[0-9]+\.[0-9]+(?!\.?[0-9])|[0-9]+))"
)


@dataclass(frozen=True)
class _Layout:
    """A dataset whose folders hold labels beside the frames."""

    name: str
    frames: str
    """Family of the frames; see `_family`."""
    labels: frozenset[str]
    """Families of the labels."""


_LAYOUTS = (
    _Layout(
        "CholecSeg8k",
        "frame_#_endo.png",
        frozenset(f"frame_#_endo_{kind}.png" for kind in ("mask", "color_mask", "watershed_mask")),
    ),
    _Layout("DSAD", "image#.png", frozenset({"mask#.png"})),
)


@dataclass(frozen=True)
class FrameFiles:
    """The files of the frames, in order."""

    paths: list[Path]
    note: str = ""
    """A sentence about files that were left out; empty if none were."""


def find_images(folder: Path, pattern: str | None = None) -> FrameFiles:
    """Find the images of a folder that are the frames of a video.

    A folder without images of its own may be a dataset's sequence folder: then the images
    of its ``left_frames`` (EndoVis), ``JPEGImages``, ``images``, ``frames`` or ``img`` count.
    Beside the frames of the datasets CholecSeg8k and DSAD, the labels are left out.

    Args:
        folder: the folder; hidden files in it do not count.
        pattern: the names of the frames, with ``*`` for any characters and ``?`` for one; None
            takes all images, which must then be named alike.

    Returns:
        The frames in natural order: numbers in names count by their value.

    Raises:
        VideoError: the folder cannot be listed, has no such images, or has images of several
            kinds of names.
    """
    try:
        images = images_in(folder)
        for name in _FRAME_FOLDERS:
            if images:
                break
            if (folder / name).is_dir():
                images = images_in(folder / name)
        entries = sorted(folder.iterdir()) if not images else []
    except OSError as error:
        raise VideoError(f"{folder}: cannot list the folder ({error.strerror})") from error
    if not images:
        raise VideoError(
            f"{folder}: no images (jpg, png, bmp, tif, ...) in this folder; {_hint(entries)}"
        )
    if pattern is not None:
        chosen = [path for path in images if fnmatchcase(path.name, pattern)]
        if not chosen:
            raise VideoError(
                f"{folder}: no image has a name like {pattern!r}; there are "
                f"{_listed(_families(images))}"
            )
        _refuse_equal_stems(folder, chosen)
        return FrameFiles(chosen)
    families = _families(images)
    for layout in _LAYOUTS:
        if layout.frames in families and families.keys() - {layout.frames} <= layout.labels:
            frames = families[layout.frames]
            left_out = len(images) - len(frames)
            note = f"{left_out} label images of {layout.name} beside the frames are left out"
            return FrameFiles(frames, note if left_out else "")
    if len(families) > 1:
        raise VideoError(
            f"{folder}: the images have several kinds of names, so it is not clear which are the "
            f"frames: {_listed(families)}; choose with a pattern such as "
            f"--pattern {_as_pattern(next(iter(families)))!r}"
        )
    return FrameFiles(images)


def natural_key(name: str) -> list[tuple[int, Decimal, str]]:
    """Return a sort key by which numbers count by value: frame2 before frame10, 0.05 before 0.1."""
    parts = _NUMBER.split(name.lower())
    keyed = [
        (0, Decimal(part), part) if i % 2 else (1, Decimal(0), part)
        for i, part in enumerate(parts)
        if part
    ]
    return [*keyed, (2, Decimal(0), name)]


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order; hidden files do not count."""
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    ]
    return sorted(found, key=lambda path: natural_key(path.name))


def _family(name: str) -> str:
    """Return the name of a file with ``#`` in the place of each number, in lower case.

    A name without a number belongs to the family of all such names with its suffix.
    """
    stem, dot, suffix = name.lower().rpartition(".")
    family = _NUMBER.sub("#", stem)
    return (family if family != stem else "*") + dot + suffix


def _families(images: Iterable[Path]) -> dict[str, list[Path]]:
    families: dict[str, list[Path]] = defaultdict(list)
    for path in images:
        families[_family(path.name)].append(path)
    return dict(families)


def _as_pattern(family: str) -> str:
    return family.replace("#", "*")


def _listed(families: dict[str, list[Path]]) -> str:
    shown = [
        f"{len(paths)} like {_as_pattern(family)} ({paths[0].name})"
        for family, paths in list(families.items())[:6]
    ]
    more = len(families) - len(shown)
    return ", ".join(shown) + (f" and {more} more kinds" if more else "")


def _refuse_equal_stems(folder: Path, images: list[Path]) -> None:
    first: dict[str, Path] = {}
    for path in images:
        other = first.setdefault(path.stem, path)
        if other is not path:
            raise VideoError(
                f"{folder}: {other.name} and {path.name} would both be frames; choose one kind "
                f"with a pattern such as --pattern '*{path.suffix}'"
            )


def _hint(entries: list[Path]) -> str:
    """Return advice for a folder without images."""
    inner = next((e.name for e in entries if e.is_dir() and any(images_in(e))), None)
    if inner is not None:
        return f"give the folder that holds the frames, such as {inner}"
    suffixes = {entry.suffix.lower() for entry in entries}
    if suffixes & {".dcm", ".mha", ".nrrd"}:
        return "it holds medical images: give one multi-frame file"
    if not suffixes.isdisjoint(VIDEO_SUFFIXES):
        return "it holds video files: give one of them"
    return "give the folder that holds the frames"
