"""A real engine process with a real model and real videos."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from surgsam2 import PromptSet, Tracker, segment_video
from surgsam2.engine import (
    Failed,
    Finished,
    LiveTracked,
    ModelLoaded,
    Previewed,
    Progress,
    Refined,
    Tracked,
    VideoOpened,
)
from surgsam2.engine.protocol import messages
from surgsam2.engine.protocol.framing import Packet
from surgsam2.engine.protocol.messages import Message
from surgsam2.errors import InputError, PromptError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.single_frame import StillFrame
from tests.conftest import disc
from tests.engine.conftest import Driver
from tests.video.helpers import write_video


def prompts_for_two() -> PromptSet:
    prompts = PromptSet().add(object_id=3, frame=4, box=[30, 40, 80, 90], name="liver")
    prompts.add(object_id=3, frame=12, points=[[60, 60, 1], [5, 5, 0]])
    return prompts.add(object_id=7, frame=6, mask=disc(160, 120, 100, 40, 14))


def open_clip(engine: Driver, clip: np.ndarray) -> list[int]:
    """Open the clip as the application's frames; return the list of indices that get read."""
    read: list[int] = []

    def frame(index: int) -> np.ndarray:
        read.append(index)
        return clip[index]

    count, height, width = clip.shape[:3]
    number = engine.client.open_frames(count, width, height, 25.0, frame)
    opened = engine.until(VideoOpened, number)
    assert (opened.frame_count, opened.width, opened.height, opened.fps) == (
        count, width, height, 25.0,
    )  # fmt: skip
    return read


def assert_same(results: list[Tracked], expected: list) -> None:
    assert [t.result.frame_index for t in results] == [r.frame_index for r in expected]
    for got, want in zip((t.result for t in results), expected, strict=True):
        assert got.object_ids == want.object_ids
        assert np.array_equal(got.masks, want.masks)
        assert np.array_equal(got.iou_scores, want.iou_scores)
        assert np.array_equal(got.presence, want.presence)
        assert got.milliseconds > 0
        with pytest.raises(ValueError, match="without logits"):
            _ = got.logits


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_tracking_equals_segment_video(
    engine: Driver, a_model: SurgSAM2Model, a_clip: np.ndarray, direction: str
) -> None:
    prompts = prompts_for_two()
    expected = list(
        segment_video(a_model, a_clip, prompts, direction=direction, allow_overlap=True)  # type: ignore[arg-type]
    )
    open_clip(engine, a_clip)
    number = engine.client.track(prompts, TrackingOptions(direction=direction, allow_overlap=True))
    end = engine.until(Finished, number)
    results = engine.of(number, Tracked)
    assert_same(results, expected)
    assert end.status == "complete"
    assert end.done == end.total == results[-1].done == results[-1].total
    steps = engine.of(number, Progress)
    assert [s.done for s in steps] == list(range(1, end.total - len(results) + 1))
    assert bool(steps) == (direction == "both")
    assert all(s.fps > 0 for s in (*steps, *results))


def test_a_video_file_and_a_range(
    engine: Driver, a_model: SurgSAM2Model, a_clip: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "a clip.mp4"
    write_video(
        path,
        len(a_clip),
        size=(160, 120),
        frame=lambda i: av.VideoFrame.from_ndarray(a_clip[i], format="rgb24").reformat(
            format="yuv420p"
        ),
    )
    opened = engine.until(VideoOpened, engine.client.open_video(path))
    assert (opened.frame_count, opened.source) == (len(a_clip), str(path))
    prompts = prompts_for_two()
    number = engine.client.track(prompts, TrackingOptions(start=5, stop=10, min_region=0.01))
    engine.until(Finished, number)
    expected = segment_video(
        a_model, str(path), prompts, start=5, stop=10, allow_overlap=False, min_region=0.01
    )
    assert_same(engine.of(number, Tracked), list(expected))


def test_preview_and_refine(engine: Driver, a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    read = open_clip(engine, a_clip)
    prompts = prompts_for_two()
    shown = engine.until(Previewed, engine.client.preview(6, prompts))
    still = StillFrame(a_model, a_clip[6], 6)
    expected = still.preview(prompts)
    assert shown.frame == 6
    assert list(shown.masks) == [7]
    assert np.array_equal(shown.masks[7], expected.masks[0])
    assert shown.iou == {7: float(expected.iou_scores[0])}
    assert shown.presence == {7: float(expected.presence[0])}

    mask = disc(160, 120, 100, 40, 14)
    number = engine.client.refine(6, 7, mask, [[108, 40, 0]])
    refined = engine.until(Refined, number)
    corrected = still.refine(7, mask, [[108, 40, 0]])
    assert (refined.frame, refined.object_id) == (6, 7)
    assert np.array_equal(refined.mask, corrected.masks[0])
    assert refined.iou == float(corrected.iou_scores[0])
    assert read == [6]  # looked at once for both


def test_previews_are_answered_while_a_track_runs(engine: Driver, a_clip: np.ndarray) -> None:
    open_clip(engine, a_clip)
    prompts = prompts_for_two()
    track = engine.client.track(prompts)
    engine.until(Tracked, track)
    engine.until(Previewed, engine.client.preview(12, prompts))
    assert not engine.of(track, Finished)
    assert engine.until(Finished, track).status == "complete"
    assert [t.result.frame_index for t in engine.of(track, Tracked)] == list(range(4, 18))


def test_cancel_and_go_on(engine: Driver, a_clip: np.ndarray) -> None:
    read = open_clip(engine, a_clip)
    prompts = prompts_for_two()
    number = engine.client.track(prompts, TrackingOptions(direction="both"))
    engine.until(Progress, number)
    engine.client.cancel()
    end = engine.until(Finished, number)
    assert end.status == "cancelled"
    assert end.done < end.total
    assert len(read) < len(a_clip)  # it did not go on in secret
    number = engine.client.track(prompts, TrackingOptions(stop=8))
    engine.until(Tracked, number)
    engine.client.cancel()
    assert engine.until(Finished, number).status == "cancelled"
    engine.until(Previewed, engine.client.preview(4, prompts))


def test_a_newer_track_replaces_the_running_one(engine: Driver, a_clip: np.ndarray) -> None:
    open_clip(engine, a_clip)
    first = engine.client.track(prompts_for_two())
    engine.until(Tracked, first)
    second = engine.client.track(prompts_for_two(), TrackingOptions(direction="backward", stop=8))
    assert engine.until(Finished, second).status == "complete"
    assert engine.of(first, Finished)[0].status == "cancelled"
    assert [t.result.frame_index for t in engine.of(second, Tracked)] == list(range(7, -1, -1))


def test_the_engine_waits_for_the_application(engine: Driver, a_clip: np.ndarray) -> None:
    """Without polls the engine stops after some results; then all arrive, in order."""
    long = np.concatenate([a_clip] * 3)
    read = open_clip(engine, long)
    number = engine.client.track(PromptSet().add(object_id=1, frame=0, box=[10, 30, 50, 80]))
    engine.until(Tracked, number)
    time.sleep(1.0)  # no claim about time: reading stands still because nobody polls
    assert len(read) < len(long)
    engine.until(Finished, number)
    indices = [t.result.frame_index for t in engine.of(number, Tracked)]
    assert indices == list(range(len(long)))


def test_an_application_that_cannot_read_a_frame(engine: Driver, a_clip: np.ndarray) -> None:
    def frame(index: int) -> np.ndarray:
        if index == 7:
            raise RuntimeError("the node was deleted")
        return a_clip[index][:, :-1] if index == 9 else a_clip[index]

    engine.until(VideoOpened, engine.client.open_frames(18, 160, 120, 25.0, frame))
    number = engine.client.track(prompts_for_two(), TrackingOptions(start=4, stop=8))
    failure = engine.until(Failed, number)
    assert failure.kind == "video"
    assert "frame 7 cannot be read: RuntimeError: the node was deleted" in failure.message
    box = PromptSet().add(object_id=1, frame=9, box=[1, 1, 9, 9])
    failure = engine.until(Failed, engine.client.preview(9, box))
    assert "must be (120, 160, 3) uint8, got (120, 159, 3) uint8" in failure.message
    engine.until(Previewed, engine.client.preview(4, prompts_for_two()))


def test_refusals_are_messages(engine: Driver, a_clip: np.ndarray, tmp_path: Path) -> None:
    client = engine.client
    open_clip(engine, a_clip)
    outside = PromptSet().add(object_id=1, frame=0, points=[[500, 5, 1]])
    late = PromptSet().add(object_id=1, frame=40, points=[[5, 5, 1]])
    good = prompts_for_two()
    mask = disc(160, 120, 40, 40, 9)
    for request, kind, words in (
        (lambda: client.track(outside), "input", "outside the 160 x 120 frame"),
        (lambda: client.track(late), "input", "the video has 18 frames"),
        (lambda: client.track(PromptSet()), "input", "there are no prompts"),
        (lambda: client.track(good, TrackingOptions(start=30)), "input", "frame range"),
        (
            lambda: client.open_frames(0, 4, 4, 25.0, lambda k: a_clip[k]),
            "input",
            "a video needs frames",
        ),
        (lambda: client.preview(99, good), "input", "there is no frame 99"),
        (lambda: client.preview(5, good), "input", "no prompt on frame 5"),
        (lambda: client.refine(0, 1, mask[:50], [[5, 5, 1]]), "input", "the video 160 x 120"),
        (lambda: client.refine(0, 1, mask, [[500, 5, 1]]), "input", "outside the 160 x 120 frame"),
        (lambda: client.refine(0, 1, mask, [[float("nan"), 5, 1]]), "input", "plain data"),
        (lambda: client.refine(0, 1, mask & False, [[5, 5, 1]]), "input", "the mask is empty"),
        (lambda: client.live_prompts(good), "input", "no live session"),
        (lambda: client.load_model("nothing.pt"), "checkpoint", "nothing.pt"),
        (lambda: client.load_model("demo", device="tpu9"), "device", "tpu9"),
        (lambda: client.load_model("demo", speed="high"), "input", "'model options.speed'"),
        (lambda: client.open_video(tmp_path / "none.mp4"), "video", "no such file"),
    ):
        number = request()
        failure = engine.until(Failed, number)
        assert failure.kind == kind
        assert words in failure.message
        assert "\n" not in failure.message
    with pytest.raises(PromptError, match="must be \\(H, W\\)"):
        client.refine(0, 1, mask[0], [[5, 5, 1]])
    with pytest.raises(InputError, match="frame size must be positive"):
        client.open_frames(1, 0, 5, 25.0, lambda k: a_clip[k])
    assert client.alive
    number = client.preview(4, good)  # model and video are still there
    engine.until(Previewed, number)


@dataclass(frozen=True)
class Anything(Message):
    """A message whose header is whatever a test wants."""


@pytest.mark.parametrize(
    ("kind", "header", "failure"),
    [
        ("dance", {}, "protocol"),
        ("track", {}, "protocol"),
        ("track", {"request": "first"}, "protocol"),
        ("track", {"request": 10**6, "prompts": [[1, 2]]}, "protocol"),
        ("load_model", {"request": 10**6, "options": {"model": 7}}, "input"),
        ("load_model", {"request": 10**6, "options": {"pruning": {"x": 1}}}, "input"),
        ("load_model", {"request": 10**6, "options": 7}, "protocol"),
        ("open_frames", {"request": 10**6, "width": 5, "height": "x"}, "protocol"),
        ("start_live", {"request": 10**6, "width": 5}, "protocol"),
        ("frame_given", {"video": 1, "ticket": "x"}, "protocol"),
        ("live_frame", {"live": 1, "payload": {"slot": 0, "block": "../x-1"}}, "protocol"),
        ("released", {"slot": "masks-1"}, "protocol"),
    ],
)
def test_messages_that_are_not_understood(
    engine: Driver,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    header: dict[str, Any],
    failure: str,
) -> None:
    transport = engine.client.transport
    assert transport is not None
    monkeypatch.setattr(messages, "pack_message", lambda message: Packet(kind, header))
    transport.send(Anything())
    monkeypatch.undo()
    assert engine.until(Failed).kind == failure
    assert engine.client.alive


def test_options_are_checked_by_the_engine_too(
    engine: Driver, a_clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_clip(engine, a_clip)
    monkeypatch.setattr(TrackingOptions, "as_mapping", lambda self: {"direction": "sideways"})
    failure = engine.until(Failed, engine.client.track(prompts_for_two()))
    assert failure.kind == "input"
    assert "direction must be one of" in failure.message


def test_live(engine: Driver, a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    """Frames come faster than they are segmented: older ones are dropped, the order is kept."""
    client = engine.client
    number = client.start_live(160, 120)
    prompts = PromptSet().add(object_id=5, frame=0, box=[10, 40, 45, 80])
    client.live_prompts(prompts)
    client.live_frame(a_clip[0], 0.0)
    first = engine.until(LiveTracked, number)
    assert (first.stamp, first.result.object_ids, first.dropped) == (0.0, (5,), 0)
    expected = StillFrame(a_model, a_clip[0]).preview(prompts)
    assert np.array_equal(first.result.masks, expected.masks)
    for index in range(1, 18):
        client.live_frame(a_clip[index], float(index))
    last = engine.when(lambda e: isinstance(e, LiveTracked) and e.stamp == 17.0)
    results = engine.of(number, LiveTracked)
    stamps = [event.stamp for event in results]
    assert stamps == sorted(stamps)
    assert len(results) + last.dropped == 18  # type: ignore[attr-defined]
    assert last.dropped > 0  # type: ignore[attr-defined]
    assert [event.result.frame_index for event in results] == list(range(len(results)))

    # another object, on a picture the user looked at; the first one is let go
    more = PromptSet().add(object_id=9, frame=1, points=[[100, 60, 1]])
    engine.until(Finished, client.live_prompts(more, a_clip[1]))
    engine.until(Finished, client.live_remove(5))
    assert "not tracked" in engine.until(Failed, client.live_remove(5)).message
    client.live_frame(a_clip[3], 20.0)
    event = engine.when(lambda e: isinstance(e, LiveTracked) and e.stamp == 20.0)
    assert event.result.object_ids == (9,)  # type: ignore[attr-defined]

    with pytest.raises(InputError, match="start a new live session"):
        client.live_frame(a_clip[0][:50], 21.0)
    for _ in range(4):
        with pytest.raises(InputError, match="stamp of a live frame must be a finite number"):
            client.live_frame(a_clip[0], float("nan"))
    smaller = client.start_live(80, 60)
    client.live_frame(a_clip[0][::2, ::2], 22.0)
    assert engine.until(LiveTracked, smaller).result.masks.shape == (0, 60, 80)
    assert engine.of(number, Finished)[0].status == "cancelled"
    client.cancel()
    assert engine.until(Finished, smaller).status == "cancelled"


def test_a_live_session_has_a_memory_policy(
    engine: Driver, a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    options = TrackingOptions(memory="reliable", min_similarity=1)
    prompts = PromptSet().add(object_id=5, frame=0, box=[10, 40, 45, 80])
    tracker = Tracker(a_model, 160, 120, options=options)
    number = engine.client.start_live(160, 120, options)
    engine.client.live_prompts(prompts)
    for index in range(3):
        engine.client.live_frame(a_clip[index], float(index))
        event = engine.when(lambda e, i=index: isinstance(e, LiveTracked) and e.stamp == i)
        result = tracker.step(a_clip[index], prompts)
        assert np.array_equal(event.result.masks, result.masks)  # type: ignore[attr-defined]
        assert result.masks.any() == (index < 2), "nothing is as similar as 1"
    engine.client.cancel()
    engine.until(Finished, number)


def test_polling_within_read_is_harmless(engine: Driver, a_clip: np.ndarray) -> None:
    def frame(index: int) -> np.ndarray:
        assert engine.client.poll() == []
        return a_clip[index]

    engine.until(VideoOpened, engine.client.open_frames(18, 160, 120, 25.0, frame))
    engine.until(Previewed, engine.client.preview(4, prompts_for_two()))


def test_models_can_be_changed(engine: Driver, demo_checkpoint: Path, small_config: Path) -> None:
    number = engine.client.load_model(
        demo_checkpoint, config=small_config, device="cpu", pruning={"form": "off"}
    )
    loaded = engine.until(ModelLoaded, number)
    assert (loaded.device, loaded.dtype, loaded.image_size) == ("cpu", "float32", 128)
    assert loaded.trained
    number = engine.client.load_model(demo_checkpoint, config=str(small_config), device="cpu")
    engine.until(ModelLoaded, number)


def test_the_client_imports_nothing_heavy() -> None:
    code = "import sys, json, surgsam2.engine; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    )
    top = {name.partition(".")[0] for name in modules}
    assert "numpy" in top
    assert not top & {"torch", "sam2", "cv2", "av", "PIL", "SimpleITK", "scipy"}


def test_paths_are_those_of_the_application(
    engine: Driver,
    demo_checkpoint: Path,
    small_config: Path,
    built_in_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Relative paths count from the application's folder, though the engine runs in another."""
    (tmp_path / "demo").mkdir()  # a name is a name
    (tmp_path / "Gewichte ü.pt").write_bytes(demo_checkpoint.read_bytes())
    configs = {"Gewichte ü.pt": small_config, "demo": built_in_config}
    monkeypatch.chdir(tmp_path)
    for name in ("Gewichte ü.pt", Path("Gewichte ü.pt"), "demo"):
        (tmp_path / "my config.yaml").write_bytes(configs[str(name)].read_bytes())
        number = engine.client.load_model(name, config="my config.yaml", device="cpu")
        assert engine.until(ModelLoaded, number).image_size == 128
