"""The review of an output folder: which frames of which object a person should look at.

It reads what a run wrote, the table ``frames.csv`` or else the label images, so that it also
serves for runs that were stopped.
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.results.review import (
    Measurements,
    Stretch,
    doubtful_frames,
    doubtful_stretches,
)
from surgsam2.results.saved_masks import open_saved_masks
from surgsam2.results.thresholds import Thresholds
from surgsam2.storage.atomic_file import write_text_atomically
from surgsam2.storage.image_file import LABEL_FORMATS, read_rgb
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.label_image import LABELS, label_name
from surgsam2.storage.limits import FRAMES
from surgsam2.storage.shape import check_shape
from surgsam2.video import Video, open_video

PAGE = "review.html"
"""Name of the page in the output folder."""
_COLUMNS = {
    "presence": "presence",
    "iou": "iou_score",
    "area": "area",
    "x": "centroid_x",
    "y": "centroid_y",
}
_MOST_VALUES = 2**24  # largest number of objects times frames that is held in memory
_PICTURES = 8  # largest number of pictures of one stretch
_ALL_PICTURES = 400  # largest number of pictures on the page
_WIDTH = 320  # width of a picture in pixels


def _named(object_id: int, name: str) -> str:
    """Return an object's id with its name, which for an object without one repeats the id."""
    number = f"object {object_id}"
    return number if name == number else f"{number} ({name})"


@dataclass(frozen=True)
class ObjectSummary:
    """How one object fared in a run."""

    object_id: int
    name: str
    with_mask: int
    """Number of frames on which it has a mask."""
    empty: int
    """Number of frames on which its mask is empty."""
    doubtful: int
    """Number of frames that should be looked at."""
    lowest_iou: float | None
    """Lowest predicted IoU of a visible mask, 0 to 1; None where no scores are known."""

    def __str__(self) -> str:
        lowest = "" if self.lowest_iou is None else f", lowest predicted IoU {self.lowest_iou:.2f}"
        return (
            f"{_named(self.object_id, self.name)}: mask on {self.with_mask} frames, "
            f"empty on {self.empty}, doubtful on {self.doubtful}{lowest}"
        )


@dataclass(frozen=True)
class Review:
    """The review of an output folder."""

    folder: Path
    first: int
    """Index of the first frame that was segmented."""
    frame_count: int
    """Number of frames from the first to the last one that was segmented."""
    objects: tuple[ObjectSummary, ...]
    stretches: tuple[Stretch, ...]
    """The doubtful frames, with indices from the beginning of the video."""

    def name(self, object_id: int | None) -> str:
        """Return the name of an object with its id."""
        names = {summary.object_id: summary.name for summary in self.objects}
        return _named(object_id, names[object_id]) if object_id in names else "all objects"


def review_output(folder: Path | str, thresholds: Thresholds | None = None) -> Review:
    """Find the doubtful frames in an output folder of `segment_to_folder`.

    Args:
        folder: the output folder.
        thresholds: the limits beyond which a frame is doubtful; None takes the defaults.

    Raises:
        InputError: the folder has neither a table nor label images, or they cannot be read.
    """
    folder, limits = Path(folder), thresholds or Thresholds()
    names: dict[int, str] = {}
    table = folder / "frames.csv"
    if table.is_file():
        rows = list(_table_rows(table, names))
    elif (folder / LABELS).is_dir():
        rows = list(_mask_rows(folder / LABELS))
    else:
        raise InputError(
            f"{folder}: holds no results to review (neither frames.csv nor {LABELS}); give the "
            "output folder of surgsam2 segment"
        )
    if not rows:
        raise InputError(f"{folder}: its results hold no object")
    names |= _names_in_report(folder)
    first, last = min(row[0] for row in rows), max(row[0] for row in rows)
    objects = list(dict.fromkeys(row[1] for row in rows))
    if (last - first + 1) * len(objects) > _MOST_VALUES:
        raise InputError(
            f"{folder}: {len(objects)} objects on {last - first + 1} frames are too many to review"
        )
    measured = _measurements(rows, first, last - first + 1)
    return Review(
        folder,
        first,
        last - first + 1,
        tuple(_summary(measured, i, names.get(i, f"object {i}"), limits) for i in objects),
        tuple(
            Stretch(s.object_id, s.first + first, s.last + first, s.reasons)
            for s in doubtful_stretches(measured, limits)
        ),
    )


def write_page(review: Review, path: Path) -> None:
    """Write the review as one HTML page, with pictures of the doubtful frames.

    The pictures come from the overlay video of the run, or else from the label images. The page
    needs no network, script or other file.

    Raises:
        OutputError: the page cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("surgsam2.job"), autoescape=True, undefined=StrictUndefined
    )
    with _Pictures(review) as pictures:
        stretches = [
            {
                "object": review.name(stretch.object_id),
                "first": stretch.first,
                "last": stretch.last,
                "reasons": ", ".join(reason.value for reason in stretch.reasons),
                "pictures": list(pictures.of(stretch)),
            }
            for stretch in review.stretches
        ]
    page = environment.get_template("review.html.jinja").render(
        review=review, stretches=stretches, limited=pictures.left == 0
    )
    write_text_atomically(path, page)


class _Pictures:
    """Makes small pictures of frames, up to `_ALL_PICTURES` of them."""

    def __init__(self, review: Review) -> None:
        self._folder, self._first = review.folder, review.first
        self._overlay: Video | None = None
        self.left = _ALL_PICTURES

    def __enter__(self) -> _Pictures:
        path = self._folder / "overlay.mp4"
        if path.is_file():
            try:
                self._overlay = open_video(path)
            except SurgSAM2Error:  # the run was stopped while it wrote the video
                self._overlay = None
        return self

    def __exit__(self, *error: object) -> None:
        if self._overlay is not None:
            self._overlay.close()

    def of(self, stretch: Stretch) -> Iterator[dict[str, Any]]:
        """Yield frame index and address (``data:``) of pictures, evenly over a stretch."""
        count = min(len(stretch.frames), _PICTURES, self.left)
        for frame in np.linspace(stretch.first, stretch.last, count).round().astype(int).tolist():
            pixels = self._pixels(frame)
            if pixels is not None:
                self.left -= 1
                yield {"frame": frame, "address": _address(pixels)}

    def _pixels(self, frame: int) -> np.ndarray | None:
        """Return a frame as (H, W, 3) uint8 RGB; None if it cannot be read."""
        try:
            if self._overlay is not None:
                return self._overlay[frame - self._first]
            return read_rgb(self._folder / LABELS / label_name(frame), formats=LABEL_FORMATS)
        except (SurgSAM2Error, IndexError):
            return None


def _address(pixels: np.ndarray) -> str:
    import cv2

    height = max(1, round(pixels.shape[0] * _WIDTH / pixels.shape[1]))
    small = cv2.resize(pixels, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _measurements(rows: list[_Row], first: int, count: int) -> Measurements:
    tables: dict[int, np.ndarray] = {}
    for frame, object_id, values in rows:
        if object_id not in tables:
            tables[object_id] = np.full((len(_COLUMNS), count), np.nan, np.float32)
        tables[object_id][:, frame - first] = values
    measured = Measurements(count)
    for object_id, table in tables.items():
        for quantity, values in zip(_COLUMNS, table, strict=True):
            measured.put(object_id, quantity, values)
    return measured


def _summary(
    measured: Measurements, object_id: int, name: str, limits: Thresholds
) -> ObjectSummary:
    area, iou = measured.of(object_id, "area"), measured.of(object_id, "iou")
    doubtful = np.any(list(doubtful_frames(measured, object_id, limits).values()), axis=0)
    visible = (area > 0) & np.isfinite(iou)
    return ObjectSummary(
        object_id,
        name,
        with_mask=int((area > 0).sum()),
        empty=int((area == 0).sum()),
        doubtful=int(doubtful.sum()),
        lowest_iou=float(iou[visible].min()) if visible.any() else None,
    )


_Row = tuple[int, int, tuple[float, ...]]
"""Frame index, object id, and the values of `_COLUMNS`."""


def _table_rows(path: Path, names: dict[int, str]) -> Iterator[_Row]:
    """Yield the rows of a table, and collect the names of the objects."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                if None in line.values():  # a process that was killed leaves a part of a row
                    continue
                frame, object_id = int(line["frame"]), int(line["object_id"])
                if not 0 <= frame < FRAMES.value or not 1 <= object_id <= 65535:
                    raise ValueError(f"frame {frame}, object {object_id}")
                names.setdefault(object_id, str(line["name"]))
                values = (float(line[column] or "nan") for column in _COLUMNS.values())
                yield frame, object_id, tuple(values)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path}: is not a table of surgsam2 ({type(error).__name__}: {error})"
        ) from error


def _mask_rows(folder: Path) -> Iterator[_Row]:
    """Yield the measurements of label images; scores are not known.

    An object has an empty mask on the frames where it does not appear.
    """
    saved, measured = open_saved_masks(folder), Measurements(1)
    objects: dict[int, set[int]] = {}
    for frame in saved.frames:
        for object_id, mask in saved.read(frame).items():
            objects.setdefault(object_id, set()).add(frame)
            measured.measure(0, object_id, mask)
            values = (float(measured.of(object_id, quantity)[0]) for quantity in _COLUMNS)
            yield frame, object_id, tuple(values)
    for object_id, frames in objects.items():
        for frame in sorted(set(saved.frames) - frames):
            yield frame, object_id, (np.nan, np.nan, 0.0, np.nan, np.nan)


def _names_in_report(folder: Path) -> dict[int, str]:
    """Return the names of objects by id; empty where there is no report."""
    try:
        report = parse_json((folder / "report.json").read_bytes())
        check_shape(report, {"objects": [{"id": int, "name": str}]})
        return {item["id"]: item["name"] for item in report["objects"]}
    except (OSError, ValueError):
        return {}
