"""A table with a row per frame and object, for spreadsheets and statistics."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, TextIO

import cv2
import numpy as np

from surgsam2.outputs.base import OutputContext, OutputUpdate, OutputWriter
from surgsam2.outputs.streamed import StreamedFile
from surgsam2.outputs.text_update import updated_parts
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.text import spreadsheet_cell

COLUMNS = (
    "frame",
    "object_id",
    "name",
    "area",
    "centroid_x",
    "centroid_y",
    "x0",
    "y0",
    "x1",
    "y1",
    "iou_score",
    "presence",
    "seconds",
    "milliseconds",
)


class TableWriter(OutputWriter):
    """Writes ``frames.csv``, UTF-8 with a header row; rows are in the file after each frame.

    ``area`` is in pixels. Coordinates are those of prompts: pixels, the centre of the top-left
    pixel is (0, 0); so x0 and x1 are the first and last column of the mask, y0 and y1 the first
    and last row. Centroid and box are empty for an empty mask. ``seconds`` is the time of the
    frame in the video; ``milliseconds`` is what the tracker took for the whole frame, repeated for
    each of its objects. A frame without objects has no row. If names are to be told, the first
    column is ``source``, the name of the frame's image file without its suffix. A name that a
    spreadsheet would take for a formula has an apostrophe before it.
    """

    file_name: ClassVar[str] = "frames.csv"

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self._path = self.folder / self.file_name
        with writing(self._path):
            self._file = self._path.open("w", encoding="utf-8", newline="")
        self._put([_header(context)])

    @classmethod
    def update(cls, update: OutputUpdate) -> bool:
        """Write the rows of the frames that changed; copy all others.

        See `OutputWriter.update`.
        """
        path, context = update.folder / cls.file_name, update.context
        if not path.is_file():
            return False
        new = StreamedFile(path)
        try:
            with writing(path), path.open(encoding="utf-8", newline="") as earlier:
                kept = _rows_in(earlier, context)
                new.write(_text([_header(context)]))
                for _, rows in updated_parts(kept, update, lambda result: _rows(result, context)):
                    new.write(_text(rows))
        except (ValueError, csv.Error):
            new.discard()
            return False
        new.finish()
        return True

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        self._put(_rows(result, self.context))

    def _put(self, rows: list[tuple]) -> None:
        with writing(self._path):
            self._file.write(_text(rows))
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with writing(self._path):
            self._file.close()


def _header(context: OutputContext) -> tuple[str, ...]:
    return (*(("source",) if context.frame_names else ()), *COLUMNS)


def _rows(result: FrameResult, context: OutputContext) -> list[tuple]:
    """Return the rows of a result."""
    time = context.seconds(result.frame_index)
    seconds = "" if time is None else f"{time:.3f}"
    source = []
    if context.frame_names:
        source = [spreadsheet_cell(context.frame_name(result.frame_index))]
    return [
        (
            *source,
            result.frame_index,
            object_id,
            spreadsheet_cell(context.object(object_id).name),
            *_measure(result.masks[i]),
            f"{result.iou_scores[i]:.6g}",
            f"{result.presence[i]:.6g}",
            seconds,
            f"{result.milliseconds:.3f}",
        )
        for i, object_id in enumerate(result.object_ids)
    ]


def _rows_in(file: TextIO, context: OutputContext) -> Iterator[tuple[int, tuple]]:
    """Yield frame index and row of a table of `TableWriter`.

    Raises:
        ValueError, csv.Error: it is not such a table, or has other columns.
    """
    lines, header = csv.reader(file), _header(context)
    if tuple(next(lines, ())) != header:
        raise ValueError("the columns are others")
    for row in lines:
        if len(row) != len(header):
            raise ValueError("an incomplete row")
        yield int(row[header.index("frame")]), tuple(row)


def _text(rows: list[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _measure(mask: np.ndarray) -> tuple[int | str, ...]:
    """Return area, centroid x and y, x0, y0, x1 and y1 of an (H, W) bool mask, in pixels."""
    pixels = mask.view(np.uint8)
    x, y, width, height = cv2.boundingRect(pixels)
    if not width:
        return (0, "", "", "", "", "", "")
    moments = cv2.moments(pixels[y : y + height, x : x + width], binaryImage=True)
    area = moments["m00"]
    return (
        round(area),
        f"{x + moments['m10'] / area:.3f}",
        f"{y + moments['m01'] / area:.3f}",
        x,
        y,
        x + width - 1,
        y + height - 1,
    )
