"""Segmenting a volume that another module keeps filling, picture by picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from surgsam2.engine import EngineClient
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.model.options import ModelOptions
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.live.engine import LiveEngine
from SurgSAM2Lib.live.marking import Marking
from SurgSAM2Lib.live.masks import LiveMasks
from SurgSAM2Lib.live.recording import GIGABYTE, LiveRecording, Recorder
from SurgSAM2Lib.live.source import LivePicture, LiveSource, picture_of
from SurgSAM2Lib.live.statistics import LiveMeter, LiveStatistics
from SurgSAM2Lib.session.objects import Objects

State = Literal["stopped", "starting", "running", "waiting"]
SEGMENTATION = "Live segmentation"
STILL_SECONDS = 5.0
"""A source that gives no new picture for so long is said to stand still."""


class LiveSegmenter:
    """A live session: the source of pictures, the engine, the segments and the recording.

    A timer calls `tick`, which does all work without blocking. Only the newest picture is
    segmented. When a session ends by itself, because its nodes were deleted or the engine
    process died twice without a result in between, a message says so, and what was
    segmented and recorded stays in the scene.

    Args:
        scene: the ``vtkMRMLScene``.
        make_client: makes an `EngineClient` that has not been started.

    Attributes:
        message: what the user should know; empty when all is well.
        on_message: called with each new `message`.
        on_change: called when a session or recording began or ended, or the pictures changed
            their size.
        on_picture: called after the masks of a picture are shown.
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
        self._since_start = 0  # pictures segmented since the engine process was started
        self._waits = False
        self._still = False
        self.message = ""
        self.on_message: Callable[[str], None] = lambda text: None
        self.on_change: Callable[[], None] = lambda: None
        self.on_picture: Callable[[], None] = lambda: None

    def use_client(self, make_client: Callable[[], EngineClient]) -> None:
        """Set what makes the engine client of the next session."""
        self._make_client = make_client

    @property
    def running(self) -> bool:
        """Whether a session runs."""
        return self._source is not None

    @property
    def state(self) -> State:
        """Return the state: `starting` while the model loads, `waiting` without a picture."""
        if self._engine is None:
            return "stopped"
        if self._waits or self._still:
            return "waiting"
        return "starting" if self._engine.newest is None else "running"

    def start(self, volume: Any, options: ModelOptions, tracking: TrackingOptions) -> None:
        """Segment each new picture of a volume from now on.

        Objects of an earlier session keep their segments, but must be marked again.

        Args:
            volume: the ``vtkMRMLVolumeNode`` that another module fills.
            options: the model to use.
            tracking: how masks are made and which memories are kept.

        Raises:
            InputError: the node is no volume, was deleted, or shows no colour or grey pictures.
        """
        source = LiveSource(volume)
        if volume.GetImageData() is not None and source.problem:
            source.close()
            picture_of(volume, 0.0)  # raises an error that says what is wrong
        try:
            engine = LiveEngine(
                self._make_client, options, tracking, self._tell, self._process_ended
            )
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
        """End the session and the engine process; segments and recording stay in the scene."""
        if self._source is None or self._engine is None:
            return
        self.stop_recording()
        self._received = self._source.changes
        self._source.close()
        self._engine.close()
        self._source = self._engine = self._marking = None
        self._waits = self._still = False
        self.on_change()

    def forget(self) -> None:
        """Stop, and let the next session make a new segmentation."""
        self.stop()
        self._masks = None
        self._last = None

    @property
    def volume(self) -> Any:
        """The live volume; None when no session runs."""
        return None if self._source is None else self._source.volume

    @property
    def engine(self) -> LiveEngine | None:
        """The session's engine; None when no session runs."""
        return self._engine

    @property
    def statistics(self) -> LiveStatistics:
        """The statistics of this session, or of the last one."""
        received, waiting = self._received, 0
        if self._source is not None and self._engine is not None:
            received = self._source.changes
            waiting = self._engine.waiting + self._source.fresh
        return self._meter.statistics(received, waiting)

    # objects and prompts

    @property
    def masks(self) -> LiveMasks:
        """The segmentation. Raises `InputError` when there is none."""
        if self._masks is None or self._masks.lost:
            raise InputError(_("there is no live segmentation; start one first"))
        return self._masks

    @property
    def objects(self) -> Objects:
        """The objects of the segmentation. Raises `InputError` when there is none."""
        return Objects(self.masks)

    def remove_object(self, object_id: int) -> None:
        """Stop following an object and remove its segment. Raises `InputError`."""
        self.objects.remove(object_id)
        if self._engine is not None:
            self._engine.remove(object_id)

    @property
    def marking(self) -> Marking:
        """What marks objects in a picture. Raises `InputError` when no session runs."""
        if self._marking is None:
            raise InputError(_("no live session runs; press 'Segment live' first"))
        return self._marking

    # recording

    @property
    def recording(self) -> LiveRecording | None:
        """The recording in progress; None when there is none."""
        return self._recorder.recording

    def record(self, gigabytes: float) -> None:
        """Record the pictures that are segmented from now on, and their masks.

        Args:
            gigabytes: memory that the recording may take, in units of 10^9 bytes. It ends
                with a message when it reaches this limit.

        Raises:
            InputError: no session runs, or so much memory is not free.
        """
        if not self.running:
            raise InputError(_("no live session runs; press 'Segment live' first"))
        self._recorder.start(int(gigabytes * GIGABYTE))
        self.on_change()

    def stop_recording(self) -> Any:
        """End the recording; return its ``vtkMRMLSequenceBrowserNode``, None without one."""
        browser = self._recorder.stop()
        self.on_change()
        return browser

    def tick(self, timeout: float = 0.0) -> None:
        """Show the masks that have come and send the newest picture.

        Args:
            timeout: seconds to wait at most for masks.
        """
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
        if source is None or engine is None:  # the session ended while events were taken
            return
        size = source.size
        if size is None:
            self._wait_for_picture(source)
            return
        if self._waits:
            self._waits = False
            self._tell("")
        self._notice_standstill(source, engine)
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

    def _notice_standstill(self, source: LiveSource, engine: LiveEngine) -> None:
        """Say once that the source has stopped; take that back with its next picture."""
        still = engine.newest is not None and source.still_seconds > STILL_SECONDS
        if still == self._still:
            return
        self._still = still
        text = _(
            "The live volume has shown no new picture for {seconds:.0f} seconds. Look at its "
            "source; segmenting goes on with the next picture."
        ).format(seconds=STILL_SECONDS)
        if still:
            self._tell(text)
        elif self.message == text:
            self._tell("")
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
        """Stop following the objects whose segments the user has deleted."""
        assert self._engine is not None
        for object_id in set(result.object_ids) - {style.id for style in self.objects}:
            self._engine.remove(object_id)

    def _process_ended(self, reason: str, died: bool) -> None:
        engine = self._engine
        if engine is None:
            return
        if not died or not self._since_start or engine.size is None:
            self._end(reason + " " + _("What was segmented so far is kept."))
            return
        self._since_start = 0
        engine.begin(engine.size)  # the source itself may show no picture now
        if self._last is not None:
            picture, result = self._last
            for style in self.objects:
                self.marking.resume(style, picture, _masks_of(result).get(style.id))
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
