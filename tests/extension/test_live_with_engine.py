"""Live segmentation with the real engine process on real MRML nodes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from SurgSAM2Lib.logic import LogicCore

import surgsam2
from surgsam2 import PromptSet, Tracker
from surgsam2.engine import EngineClient
from surgsam2.model.build import SurgSAM2Model
from surgsam2.mrml import VideoNodes, load_video, open_mask_nodes, open_video_nodes
from tests.conftest import moving_picture
from tests.extension.conftest import HEIGHT, WIDTH
from tests.extension.shared_engine import SharedEngine

PATIENCE = 120.0
FRAME = 1 / 25
POINTS = [[35, 60, 1], [100, 20, 0]]


class Replay:
    """Plays a sequence at 25 frames per second, as Slicer does.

    Args:
        logic: gets its timer's calls in between.
    """

    def __init__(self, logic: LogicCore, video: VideoNodes) -> None:
        self._logic, self._video = logic, video
        self._next = time.monotonic()
        self.most_waiting = 0

    def until(self, done: Callable[[], bool]) -> None:
        """Play in a loop until `done` returns True."""
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, f"still {self._logic.liveStatistics()}"
            if time.monotonic() >= self._next:
                self._next += FRAME
                frame = (self._video.current_frame + 1) % self._video.frame_count
                self._video.current_frame = frame
            self._logic.processEvents(0.005)
            self.most_waiting = max(self.most_waiting, self._logic.liveStatistics().waiting)


class Slow(EngineClient):
    """An engine client that gives its events only at some of the calls of `poll`."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = 0

    def poll(self, timeout: float = 0.0) -> list[Any]:
        self._looks += 1
        return super().poll(timeout) if self._looks % 40 == 0 else []


@pytest.fixture
def clip() -> np.ndarray:
    """A clip of 24 different pictures, (24, 120, 160, 3) uint8."""
    return moving_picture(24, WIDTH, HEIGHT)


@pytest.fixture(params=["fast", "slow"])
def speed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(scene: Any, clip: np.ndarray, checkpoint: Path, config: Path, make: Any) -> Any:
    video = load_video(scene, surgsam2.open_video(clip), name="replayed")
    logic = LogicCore(scene, makeClient=make)
    logic.setModel(checkpoint, config=str(config), device="cpu")
    logic.startLive(video.volume)
    return logic, Replay(logic, video)


@pytest.fixture
def session(
    scene: Any,
    clip: np.ndarray,
    demo_checkpoint: Path,
    small_config: Path,
    shared_engine: SharedEngine,
) -> Iterator[tuple[LogicCore, Replay]]:
    logic, replay = start(scene, clip, demo_checkpoint, small_config, lambda: shared_engine)
    yield logic, replay
    logic.close()


def test_a_replayed_sequence(
    scene: Any, clip: np.ndarray, demo_checkpoint: Path, small_config: Path,
    a_model: SurgSAM2Model, shared_engine: SharedEngine, speed: str,
) -> None:  # fmt: skip
    """The recorded masks are those that the tracker gives for the recorded pictures."""
    make = (lambda: shared_engine) if speed == "fast" else Slow
    logic, replay = start(scene, clip, demo_checkpoint, small_config, make)
    tool = logic.addLiveObject("tool", "#11aa55")
    logic.recordLive(0.5)
    replay.until(lambda: logic.liveStatistics().segmented >= 2)
    held = logic.live.marking.hold()
    index = logic.live.engine.newest
    logic.addLivePrompt(tool, POINTS)
    logic.live.marking.release()
    replay.until(lambda: logic.liveStatistics().segmented >= 8)
    statistics = logic.liveStatistics()
    assert replay.most_waiting <= 3
    assert statistics.received == statistics.segmented + statistics.dropped + statistics.waiting
    if speed == "slow":
        assert statistics.dropped > statistics.segmented
    assert statistics.latencyP95 >= statistics.latencyMedian > 0
    assert statistics.fps > 0

    shown = logic.live.masks.mask(tool)
    browser = logic.stopRecordingLive()
    logic.stopLive()
    video, masks = open_video_nodes(browser), open_mask_nodes(browser)
    assert video.frame_count == statistics.segmented
    assert np.array_equal(masks.mask(video.frame_count - 1, tool), shown)
    recorded = np.stack([masks.mask(k, tool) for k in range(video.frame_count)])
    pictures = [video.frame(k) for k in range(video.frame_count)]
    assert all((clip == picture).all(axis=(1, 2, 3)).any() for picture in pictures)
    prompts = PromptSet().add(object_id=tool, frame=index, points=POINTS)

    def tracked(first: int) -> np.ndarray:
        """Return the masks that result when the prompt comes before picture `first`."""
        tracker = Tracker(a_model, WIDTH, HEIGHT)
        results = []
        for k, picture in enumerate(pictures):
            if k == first:
                tracker.condition(held.pixels, index, prompts)
            found = tracker.step(picture).masks
            results.append(found[0] if len(found) else np.zeros((HEIGHT, WIDTH), bool))
        return np.stack(results)

    last = int(np.flatnonzero(recorded.any(axis=(1, 2)))[0])
    assert any(np.array_equal(recorded, tracked(k)) for k in range(last, -1, -1))
    times = [video.time_of(k) for k in range(video.frame_count)]
    assert times == sorted(set(times))
    logic.close()


def test_a_killed_worker(session: tuple[LogicCore, Replay]) -> None:
    logic, replay = session
    tool = logic.addLiveObject("tool")
    replay.until(lambda: logic.liveStatistics().segmented >= 1)
    logic.addLivePrompt(tool, box=[10, 40, 60, 80])
    replay.until(lambda: logic.live.masks.mask(tool).any())
    messages: list[str] = []
    logic.live.on_message = messages.append
    pid = logic.live.engine.ready.pid
    os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    replay.until(lambda: bool(messages))
    assert "started anew" in messages[0]
    assert logic.live.masks.mask(tool).any(), "what there was is kept"
    before = logic.liveStatistics().segmented
    replay.until(lambda: logic.liveStatistics().segmented >= before + 3)
    assert logic.live.engine.ready.pid != pid
    assert logic.live.masks.mask(tool).any(), "it goes on from the last mask"


def test_another_size_keeps_the_model(
    session: tuple[LogicCore, Replay], scene: Any, clip: np.ndarray
) -> None:
    logic, replay = session
    tool = logic.addLiveObject("tool")
    replay.until(lambda: logic.liveStatistics().segmented >= 1)
    logic.addLivePrompt(tool, box=[10, 40, 60, 80])
    replay.until(lambda: logic.live.masks.mask(tool).any())
    pid = logic.live.engine.ready.pid
    small = load_video(scene, surgsam2.open_video(clip[:, :60, :80].copy()))
    volume = logic.live.volume
    volume.SetAndObserveImageData(small.volume.GetImageData())
    end = time.monotonic() + PATIENCE
    while logic.live.state != "starting" and time.monotonic() < end:
        logic.processEvents(0.01)
    assert "80 x 60" in logic.live.message
    while logic.live.state != "running" and time.monotonic() < end:
        logic.processEvents(0.01)
    logic.addLivePrompt(tool, box=[5, 30, 40, 59])
    for frame in (1, 2, 3):
        before = logic.liveStatistics().segmented
        volume.SetAndObserveImageData(small.sequence.GetNthDataNode(frame).GetImageData())
        while logic.liveStatistics().segmented == before and time.monotonic() < end:
            logic.processEvents(0.01)
    assert logic.live.masks.mask(tool).shape == (60, 80)
    assert logic.live.masks.mask(tool).any()
    assert logic.live.engine.ready.pid == pid


def test_a_model_that_is_missing_and_a_source_that_goes(
    scene: Any,
    clip: np.ndarray,
    demo_checkpoint: Path,
    small_config: Path,
    shared_engine: SharedEngine,
) -> None:
    missing = Path("no_such_model.pt")
    logic, replay = start(scene, clip, missing, small_config, lambda: shared_engine)
    replay.until(lambda: not logic.live.running)
    assert "no_such_model.pt" in logic.live.message
    logic.setModel(demo_checkpoint, config=str(small_config), device="cpu")
    volume = scene.GetFirstNodeByClass("vtkMRMLVectorVolumeNode")
    logic.startLive(volume)
    assert logic.live.message == ""
    replay.until(lambda: logic.liveStatistics().segmented >= 1)
    scene.RemoveNode(volume)
    logic.processEvents()
    assert "deleted" in logic.live.message
    assert isinstance(logic.live.masks.proxy, slicer.vtkMRMLSegmentationNode)
    logic.close()
