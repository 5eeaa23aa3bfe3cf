"""Segments a volume that something else keeps filling, picture by picture, while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from surgsam2.engine import EngineClient
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.results.frame_result import FrameResult
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.live.engine import LiveEngine
from SurgSAM2Lib.live.marking import Marking
from SurgSAM2Lib.live.masks import LiveMasks
from SurgSAM2Lib.live.recording import GIGABYTE, LiveRecording, Recorder
from SurgSAM2Lib.live.source import LivePicture, LiveSource, picture_of
from SurgSAM2Lib.live.statistics import LiveMeter, LiveStatistics
from SurgSAM2Lib.session.objects import Objects
from SurgSAM2Lib.tracking.model_choice import ModelChoice

State = Literal["stopped", "starting", "running", "waiting"]
SEGMENTATION = "Live segmentation"


class LiveSegmenter:
    """A live session: source, worker, segments, recording.

    `tick` does everything and never waits; a timer calls it. Only the newest picture is
    ever segmented. Whatever ends a session (its nodes deleted, the worker dead twice in a
    row) is told by a message, and what was segmented and recorded so far stays in the scene.

    Args:
        scene: the ``vtkMRMLScene``.
        make_client: makes a `EngineClient` that has not been started.
    """

    def __init__(self, scene: Any, make_client: Callable[[], EngineClient]) -> None:
        self._scene = scene
        self._make_client = make_client
        self._source: LiveSource | None = None
        self._engine: LiveEngine | None = None
        self._masks: LiveMasks | None = None
        self._recorder = Recorder(scene, self._recording_ended)
        self._marking: Marking | None = None
        self._last: tuple[LivePicture, FrameResult] | None = None
        self._meter = LiveMeter()
        self._received = 0
        self._since_start = 0  # pictures since the worker was started
        self._waits = False
        self.message = ""
        """What the user should know now; empty when all is well."""
        self.on_message: Callable[[str], None] = lambda text: None
        """Called with each new `message`."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a session or recording began or ended, or the picture changed its size."""
        self.on_picture: Callable[[], None] = lambda: None
        """Called after the masks of a picture are shown."""

    def use_client(self, make_client: Callable[[], EngineClient]) -> None:
        """What makes the worker of the next session."""
        self._make_client = make_client

    # the session

    @property
    def running(self) -> bool:
        return self._source is not None

    @property
    def state(self) -> State:
        """`starting`: the model is being loaded; `waiting`: the source shows no picture."""
        if self._engine is None:
            return "stopped"
        if self._waits:
            return "waiting"
        return "starting" if self._engine.newest is None else "running"

    def start(self, volume: Any, choice: ModelChoice) -> None:
        """Segment each new picture of a volume from now on.

        Objects of an earlier session keep their segments; mark them in a picture again.

        Raises:
            InputError: not a volume, it was deleted, or it shows something else than pictures.
        """
        source = LiveSource(volume)
        if volume.GetImageData() is not None and source.problem:
            source.close()
            picture_of(volume, 0.0)  # says what is wrong
        try:
            engine = LiveEngine(self._make_client, choice, self._tell, self._worker_ended)
        except SurgSAM2Error:
            source.close()
            raise
        self.stop()
        self._source, self._engine = source, engine
        self._meter, self._received = LiveMeter(), 0
        self._marking = Marking(source, self._engine)
        self._last, self._since_start = None, 0
        if self._masks is None or self._masks.lost:
            self._masks = LiveMasks(self._scene, _(SEGMENTATION))
        self._tell("")
        self.on_change()

    def stop(self) -> None:
        """End the session and the worker; segments and recording stay in the scene."""
        if self._source is None or self._engine is None:
            return
        self.stop_recording()
        self._received = self._source.changes
        self._source.close()
        self._engine.close()
        self._source = self._engine = self._marking = None
        self._waits = False
        self.on_change()

    def forget(self) -> None:
        """Stop, and leave the segmentation to the scene: the next session makes a new one."""
        self.stop()
        self._masks = None
        self._last = None

    @property
    def volume(self) -> Any:
        """The live volume; None when no session runs."""
        return None if self._source is None else self._source.volume

    @property
    def worker(self) -> LiveEngine | None:
        """The session's worker; None when no session runs."""
        return self._engine

    @property
    def statistics(self) -> LiveStatistics:
        """Of this session, or of the last one."""
        received, waiting = self._received, 0
        if self._source is not None and self._engine is not None:
            received = self._source.changes
            waiting = self._engine.waiting + self._source.fresh
        return self._meter.statistics(received, waiting)

    # objects and prompts

    @property
    def masks(self) -> LiveMasks:
        """The segmentation. `InputError` before the first session, or when it was deleted."""
        if self._masks is None or self._masks.lost:
            raise InputError(_("there is no live segmentation; start one first"))
        return self._masks

    @property
    def objects(self) -> Objects:
        """Names, colours and visibility. `InputError` before the first session."""
        return Objects(self.masks)

    def remove_object(self, object_id: int) -> None:
        """Follow an object no more, and take its segment away."""
        self.objects.remove(object_id)
        if self._engine is not None:
            self._engine.remove(object_id)

    @property
    def marking(self) -> Marking:
        """Marks objects in a picture. `InputError` when no session runs."""
        if self._marking is None:
            raise InputError(_("no live session runs; press 'Segment live' first"))
        return self._marking

    # recording

    @property
    def recording(self) -> LiveRecording | None:
        """The recording in progress."""
        return self._recorder.recording

    def record(self, gigabytes: float) -> None:
        """Record the pictures that are segmented from now on, and their masks.

        Args:
            gigabytes: memory it may take (10^9 bytes); it ends with a message there.

        Raises:
            InputError: no session runs, or so much memory is not free.
        """
        if not self.running:
            raise InputError(_("no live session runs; press 'Segment live' first"))
        self._recorder.start(int(gigabytes * GIGABYTE))
        self.on_change()

    def stop_recording(self) -> Any:
        """End the recording; its ``vtkMRMLSequenceBrowserNode``, None when there is none."""
        browser = self._recorder.stop()
        self.on_change()
        return browser

    # work

    def tick(self, timeout: float = 0.0) -> None:
        """Take what is segmented, give what is new; waits at most `timeout` seconds."""
        if self._source is None or self._engine is None or self._masks is None:
            return
        if self._source.lost:
            self._end(_("The live volume was deleted. What was segmented so far is kept."))
            return
        if self._masks.lost:
            self._end(_("The live segmentation was deleted, so segmenting has stopped."))
            return
        results = self._engine.poll(timeout)
        self._give()
        if results:
            self._take(results)

    def _give(self) -> None:
        source, engine = self._source, self._engine
        if source is None or engine is None:  # it ended while events were taken
            return
        size = source.size
        if size is None:
            self._wait_for_picture(source)
            return
        if self._waits:
            self._waits = False
            self._tell("")
        if size != engine.size:
            self._begin(source, engine, size)
        if engine.has_room and source.fresh:
            engine.give(source.take())

    def _begin(self, source: LiveSource, engine: LiveEngine, size: tuple[int, int]) -> None:
        changed = engine.size is not None
        engine.begin(size)
        self.masks.lie_over(source.volume, size)
        self.masks.clear()
        if changed:
            self._last = None
            self.marking.release()
            text = _("The picture is now {width} x {height} pixels: mark the objects again.")
            text = text.format(width=size[0], height=size[1])
            if self.recording is not None:
                self.stop_recording()
                text += " " + _("The recording has ended with the former size.")
            self._tell(text)
            self.on_change()

    def _wait_for_picture(self, source: LiveSource) -> None:
        if not self._waits:
            self._waits = True
            text = _("The live volume shows no picture ({problem}); waiting for one.")
            self._tell(text.format(problem=source.problem))

    def _take(self, results: list[tuple[LivePicture, FrameResult]]) -> None:
        picture, result = self._last = results[-1]
        masks = _masks_of(result)
        self._remove_deleted(result)
        self.masks.show(masks, picture.ijk_to_ras)
        now = time.perf_counter()
        for earlier, _result in results:
            self._meter.note(earlier.stamp, now)
        self._since_start += len(results)
        for earlier, its_result in results:
            self._recorder.add(earlier, _masks_of(its_result), self.objects)
        self.on_picture()

    def _remove_deleted(self, result: FrameResult) -> None:
        """A segment that was deleted in Slicer is an object nobody wants any more."""
        assert self._engine is not None
        for object_id in set(result.object_ids) - {style.id for style in self.objects}:
            self._engine.remove(object_id)

    # ends

    def _worker_ended(self, reason: str, died: bool) -> None:
        engine = self._engine
        if engine is None:
            return
        if not died or not self._since_start or engine.size is None:
            self._end(reason + " " + _("What was segmented so far is kept."))
            return
        self._since_start = 0
        engine.begin(engine.size)  # the source may show no picture at the moment
        if self._last is not None:
            picture, result = self._last
            for style in self.objects:
                self.marking.go_on_from(style, picture, _masks_of(result).get(style.id))
        self._tell(reason + " " + _("It was started anew and goes on from the last masks."))

    def _recording_ended(self, text: str) -> None:
        self._tell(text)
        self.on_change()

    def _end(self, text: str) -> None:
        self.stop()
        self._tell(text)

    def _tell(self, text: str) -> None:
        self.message = text
        self.on_message(text)


def _masks_of(result: FrameResult) -> dict[int, np.ndarray]:
    return dict(zip(result.object_ids, result.masks, strict=True))
