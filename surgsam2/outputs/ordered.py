"""Outputs of a run whose frames come last to first."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import TracebackType

import numpy as np

from surgsam2.outputs.base import OutputContext
from surgsam2.outputs.output_set import FORMATS, OutputSet
from surgsam2.results import FrameResult
from surgsam2.spool import Spool
from surgsam2.video import Video


class OrderedOutputs:
    """An `OutputSet` that also takes descending frames.

    Writers that need ascending frames are then fed at the end, from a temporary file of
    masks and from the video; the others at once.
    """

    def __init__(
        self,
        folder: Path,
        formats: Iterable[str],
        context: OutputContext,
        video: Video,
        *,
        descending: bool,
    ) -> None:
        formats = list(formats)
        late = [name for name in formats if descending and FORMATS[name].needs_order]
        self._now = OutputSet(folder, [name for name in formats if name not in late], context)
        self._last = OutputSet(folder, late, context)
        self._video = video
        self._spool = Spool()

    def write(self, frame: np.ndarray, result: FrameResult) -> None:
        """As `OutputSet.write`."""
        self._now.write(frame, result)
        if self._last.writers:
            self._spool.put(
                result.frame_index,
                ids=np.array(result.object_ids, dtype=np.int64),
                masks=np.packbits(result.masks, axis=-1),
                scores=np.stack([result.iou_scores, result.presence]),
            )

    def _write_late(self) -> None:
        indices = self._spool.indices()
        if not indices:
            return
        with closing(self._video.frames(indices[0], indices[-1] + 1)) as frames:
            for index, frame in frames:
                self._last.write(frame, self._restore(index))

    def _restore(self, index: int) -> FrameResult:
        stored = self._spool.get(index)
        masks = np.unpackbits(stored["masks"], axis=-1, count=self._video.width).astype(bool)
        iou_scores, presence = stored["scores"]
        return FrameResult(index, tuple(map(int, stored["ids"])), masks, iou_scores, presence)

    def __enter__(self) -> OrderedOutputs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with closing(self._spool), self._now, self._last:
            if error is None or isinstance(error, KeyboardInterrupt):
                self._write_late()
            if error is not None:
                raise error  # so that the writers know how it ended
