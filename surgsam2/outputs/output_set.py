"""All chosen formats of a run behind one interface."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np

from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.coco import CocoWriter
from surgsam2.outputs.label_png import LabelPngWriter
from surgsam2.outputs.overlay import OverlayWriter
from surgsam2.outputs.scene import SceneWriter
from surgsam2.outputs.table import TableWriter
from surgsam2.results.frame_result import FrameResult

FORMATS: dict[str, type[OutputWriter]] = {
    "png": LabelPngWriter,
    "overlay": OverlayWriter,
    "coco": CocoWriter,
    "csv": TableWriter,
    "scene": SceneWriter,
}
"""The writer of each format."""
DEFAULT_FORMATS = tuple(name for name in FORMATS if name != "scene")
"""What is written when nothing is chosen: what needs no further package."""


class OutputSet:
    """Opens the writers of the chosen formats, feeds them all and closes them all.

    Use it in a ``with`` block: on leaving, also by an error, every writer completes its files.
    ``folder`` exists (`prepare_output`). Unknown formats raise `InputError` listing the valid ones.
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
        """Passes an (H, W, 3) uint8 RGB frame and its result to every writer."""
        for writer in self.writers.values():
            writer.write(frame, result)

    def close(self) -> None:
        """Closes every writer, then raises the first error if there was one."""
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
            self._close_all()  # the error that ended the run is the one to report
