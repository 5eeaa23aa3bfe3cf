"""Outputs of a run that may go backward, or be continued by another process."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from types import TracebackType

import numpy as np

from surgsam2.outputs.base import OutputContext
from surgsam2.outputs.output_set import FORMATS, OutputSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.disk_store import DiskStore
from surgsam2.video import Video


class OrderedOutputs:
    """An `OutputSet` that also takes descending frames, and that can be fed again.

    Every result is also recorded, bit-packed and compressed. From the record and the video,
    writers that need ascending frames are fed at the end of a descending run, and all
    writers are fed again (`replay`) when a run is taken up in another process: so each format
    comes out as if there had been no interruption, without code of its own for that.

    Args:
        record: takes the results; it belongs to the caller.
    """

    def __init__(
        self,
        folder: Path,
        formats: Iterable[str],
        context: OutputContext,
        video: Video,
        record: DiskStore,
        *,
        descending: bool,
    ) -> None:
        formats = list(formats)
        late = [name for name in formats if descending and FORMATS[name].needs_order]
        self._now = OutputSet(folder, [name for name in formats if name not in late], context)
        self._last = OutputSet(folder, late, context)
        self._video = video
        self._record = record
        self._descending = descending

    def write(self, frame: np.ndarray, result: FrameResult) -> None:
        """As `OutputSet.write`."""
        self._now.write(frame, result)
        masks = zlib.compress(np.packbits(result.masks, axis=-1).tobytes(), level=1)
        self._record.put(
            result.frame_index,
            ids=np.array(result.object_ids, dtype=np.int64),
            masks=np.frombuffer(masks, np.uint8),
            scores=np.stack([result.iou_scores, result.presence]),
            milliseconds=np.array(result.milliseconds),
        )

    def replay(self, on_frame: Callable[[], None] = lambda: None) -> None:
        """Feed the writers with what the record holds, in the order in which it was made.

        Args:
            on_frame: called after every frame.
        """
        self._feed(self._now, self._descending, on_frame)

    def recorded_milliseconds(self) -> list[float]:
        """How long the tracker took for each frame that the record holds."""
        return [self._recorded(index).milliseconds for index in self._record.indices()]

    def _feed(
        self, outputs: OutputSet, reverse: bool, on_frame: Callable[[], None] = lambda: None
    ) -> None:
        indices = self._record.indices()
        if not indices or not outputs.writers:
            return
        frames = self._video.frames(indices[0], indices[-1] + 1, reverse=reverse)
        with closing(frames):
            for index, frame in frames:
                outputs.write(frame, self._recorded(index))
                on_frame()

    def _recorded(self, index: int) -> FrameResult:
        stored = self._record.get(index)
        ids = tuple(map(int, stored["ids"]))
        width, height = self._video.width, self._video.height
        packed = np.frombuffer(zlib.decompress(stored["masks"].tobytes()), np.uint8)
        packed = packed.reshape(len(ids), height, (width + 7) // 8)
        masks = np.unpackbits(packed, axis=-1, count=width).astype(bool)
        iou_scores, presence = stored["scores"]
        return FrameResult(index, ids, masks, iou_scores, presence, float(stored["milliseconds"]))

    def __enter__(self) -> OrderedOutputs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._now, self._last:
            if error is None or isinstance(error, KeyboardInterrupt):
                self._feed(self._last, reverse=False)
            if error is not None:
                raise error  # so that the writers know how it ended
