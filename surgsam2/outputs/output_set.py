"""The writers of all chosen formats of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.coco import CocoPolygonWriter, CocoWriter
from surgsam2.outputs.cvat import CvatWriter
from surgsam2.outputs.dicom_seg import DicomSegWriter
from surgsam2.outputs.label_png import LabelPngWriter
from surgsam2.outputs.label_studio import LabelStudioWriter
from surgsam2.outputs.mask_video import CutoutVideoWriter, MaskVideoWriter
from surgsam2.outputs.overlay import OverlayWriter
from surgsam2.outputs.scene import SceneWriter
from surgsam2.outputs.table import TableWriter
from surgsam2.outputs.vos import VosWriter
from surgsam2.outputs.yolo import YoloWriter
from surgsam2.results.frame_result import FrameResult

FORMATS: dict[str, type[OutputWriter]] = {
    "png": LabelPngWriter,
    "overlay": OverlayWriter,
    "coco": CocoWriter,
    "csv": TableWriter,
    "scene": SceneWriter,
    "polygons": CocoPolygonWriter,
    "yolo": YoloWriter,
    "vos": VosWriter,
    "cvat": CvatWriter,
    "label-studio": LabelStudioWriter,
    "mask-video": MaskVideoWriter,
    "cutout-video": CutoutVideoWriter,
    "dicom-seg": DicomSegWriter,
}
"""The writer of each format."""


class OutputSet:
    """Opens the writers of the chosen formats, passes results to all and closes all.

    Use it in a ``with`` block: on leaving, also by an error, every writer completes its files.

    Args:
        folder: the output folder, which exists (`prepare_output`).
        formats: names of `FORMATS`.
        context: the video and the objects of the run.

    Raises:
        InputError: a format is unknown; the message lists the known ones.
        OutputError: the disk refuses a file.
    """

    def __init__(self, folder: Path | str, formats: Iterable[str], context: OutputContext) -> None:
        names = list(dict.fromkeys([formats] if isinstance(formats, str) else formats))
        for name in names:
            if name not in FORMATS:
                raise InputError(f"unknown output format {name!r}; valid: {', '.join(FORMATS)}")
        self.context = context
        self.writers: dict[str, OutputWriter] = {}
        try:
            for name in names:
                self.writers[name] = FORMATS[name](Path(folder), context)
        except BaseException:
            self._close_all()
            raise

    def write(self, frame: np.ndarray, result: FrameResult) -> None:
        """Write a frame, (H, W, 3) uint8 RGB, and its result in every format.

        The formats have the number of the frame in the video; see `OutputContext.number`.
        """
        if self.context.stride > 1:
            result = replace(result, frame_index=self.context.number(result.frame_index))
        for writer in self.writers.values():
            writer.write(frame, result)

    def close(self) -> None:
        """Close every writer, then raise the first error if there was one."""
        errors = self._close_all()
        if errors:
            raise errors[0]

    def _close_all(self) -> list[Exception]:
        errors: list[Exception] = []
        for writer in self.writers.values():
            try:
                writer.close()
            except (SurgSAM2Error, OSError) as error:
                errors.append(error)
        return errors

    def __enter__(self) -> OutputSet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._close_all()  # Errors of closing are dropped: another one ended the run.
