"""All outputs of a run: in any direction, in a thread, and again after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType

import numpy as np

from surgsam2.outputs.background_writer import BackgroundWriter
from surgsam2.outputs.base import OutputContext, OutputUpdate, OutputWriter
from surgsam2.outputs.output_set import FORMATS, OutputSet
from surgsam2.outputs.result_record import ResultRecord
from surgsam2.results.frame_result import FrameResult
from surgsam2.video import Video


class ResultWriter:
    """Writes results in every chosen format and records them, in a thread of its own.

    From the record and the video, some formats are written at the end: those that need
    ascending frames in a descending run, and those that hold all frames in a run that replaces a
    range of earlier results. All formats are written again (`replay`) when a run is continued
    in another process. So each format comes out as if there had been no interruption, without
    code of its own for that.

    Where the changed frames are known, formats that can update their file do so instead.

    Use it in a ``with`` block: leaving it waits until everything is written and closes the files.

    Args:
        folder: the output folder, which exists.
        formats: names of `FORMATS`.
        context: the video and the objects of the run.
        video: the video of the run.
        record: takes the results; it may hold earlier ones.
        descending: whether results come with descending frame indices.
        at_end: names of formats that are written from the whole record at the end.
        edited: indices of the recorded frames whose masks differ from those in the files of
            `at_end`; None when it is not known.
    """

    def __init__(
        self,
        folder: Path,
        formats: Iterable[str],
        context: OutputContext,
        video: Video,
        record: ResultRecord,
        *,
        descending: bool,
        at_end: Collection[str] = (),
        edited: Collection[int] | None = None,
    ) -> None:
        formats = list(formats)
        self._late = [
            name for name in formats if name in at_end or (descending and FORMATS[name].needs_order)
        ]
        at_once = [name for name in formats if name not in self._late]
        self._at_once = OutputSet(folder, at_once, context)
        self._folder = folder
        self._context = context
        self._video = video
        self._record = record
        self._before = tuple(record.indices())
        self._changed = None if edited is None else set(edited)
        self._descending = descending
        self._background = BackgroundWriter(self._write)

    def put(self, frame: np.ndarray, result: FrameResult) -> None:
        """Have a result written; wait while too many do. An error may come with a later call.

        Args:
            frame: the pixels, (H, W, 3) uint8 RGB.
            result: the result of the frame.

        Raises:
            OutputError: the disk refuses.
            InputError: the result does not belong to the run.
        """
        self._background.put(frame, result)

    def drain(self) -> None:
        """Wait until everything is written. Raises errors as `put`."""
        self._background.drain()

    def replay(self, on_frame: Callable[[], None] = lambda: None) -> None:
        """Write what the record holds, in the order in which it was made.

        Args:
            on_frame: called after every frame.
        """
        self._write_recorded(self._at_once, self._descending, on_frame)

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        # The record comes first: what it holds tells a killed run's files from a person's.
        self._record.put(result)
        if self._changed is not None:
            self._changed.add(result.frame_index)
        self._at_once.write(frame, result)

    def _write_recorded(
        self, outputs: OutputSet, reverse: bool, on_frame: Callable[[], None] = lambda: None
    ) -> None:
        indices = self._record.indices()
        if not indices or not outputs.writers:
            return
        for frame, result in self._recorded(indices[0], indices[-1] + 1, reverse):
            outputs.write(frame, result)
            on_frame()

    def _recorded(
        self, start: int, stop: int, reverse: bool = False
    ) -> Iterator[tuple[np.ndarray, FrameResult]]:
        """Yield the recorded results of a range with their frames."""
        frames = self._video.frames(start, stop, reverse=reverse)
        with closing(frames):
            for index, frame in frames:
                if index in self._record:
                    yield frame, self._record.get(index)

    def _write_late(self) -> None:
        """Write the formats that are written at the end, or update their files."""
        late = self._late
        if self._changed is not None:

            def write(writer: OutputWriter, start: int, stop: int) -> None:
                for frame, result in self._recorded(start, stop):
                    writer.write(frame, result)

            update = OutputUpdate(
                *(self._folder, self._context, self._before, tuple(self._record.indices())),
                frozenset(self._changed),
                write,
                self._record.get,
            )
            late = [name for name in late if not FORMATS[name].update(update)]
        with OutputSet(self._folder, late, self._context) as outputs:
            self._write_recorded(outputs, reverse=False)

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Errors pass through the inner blocks, so that the writers know how the run ended.
        with self._at_once:
            self._background.__exit__(kind, error, trace)
            if error is None or isinstance(error, KeyboardInterrupt):
                self._write_late()
            if error is not None:
                raise error
