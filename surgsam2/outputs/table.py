"""A table with a row per frame and object, for spreadsheets and statistics."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import cv2
import numpy as np

from surgsam2.outputs.base import OutputContext, OutputWriter
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

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self._path = self.folder / "frames.csv"
        with writing(self._path):
            self._file = self._path.open("w", encoding="utf-8", newline="")
        self._has_names = bool(context.frame_names)
        self._put([(*(["source"] if self._has_names else []), *COLUMNS)])

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        rows = []
        time = self.context.seconds(result.frame_index)
        seconds = "" if time is None else f"{time:.3f}"
        source = [self.context.frame_name(result.frame_index)] if self._has_names else []
        for i, object_id in enumerate(result.object_ids):
            rows.append(
                (
                    *source,
                    result.frame_index,
                    object_id,
                    spreadsheet_cell(self.context.object(object_id).name),
                    *_measure(result.masks[i]),
                    f"{result.iou_scores[i]:.6g}",
                    f"{result.presence[i]:.6g}",
                    seconds,
                    f"{result.milliseconds:.3f}",
                )
            )
        self._put(rows)

    def _put(self, rows: list[tuple]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        with writing(self._path):
            self._file.write(text.getvalue())
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with writing(self._path):
            self._file.close()


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
