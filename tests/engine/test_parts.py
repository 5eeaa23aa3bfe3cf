"""The pieces that need no process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surgsam2 import PromptSet
from surgsam2.engine.client.launch import clean_environment, default_python
from surgsam2.engine.protocol.messages import Message, ProtocolError
from surgsam2.engine.protocol.serialization import prompts_to_wire
from surgsam2.engine.protocol.shared_memory import FRAME_SLOTS, SharedBlock
from surgsam2.engine.server.engine import Engine
from surgsam2.engine.server.job_queue import Cancelled, Job, Jobs
from surgsam2.engine.server.live_session import LiveSession, NewestFrame
from surgsam2.engine.server.outgoing import RESULT_SLOTS, MaskSlots
from surgsam2.engine.server.remote_video import RemoteVideo
from surgsam2.errors import OutputError, VideoError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.results.frame_result import FrameResult


def job(number: int, kind: str) -> Job:
    return Job(number, kind, Message(kind))


@pytest.mark.parametrize(
    ("kinds", "cancelled"),
    [
        (["load_model", "open_video", "track"], []),
        (["track", "track"], [0]),
        (["track", "preview", "preview", "refine", "refine"], [1]),
        (["track", "preview", "open_frames"], [0, 1]),
        (["open_video", "track", "load_model", "track"], [1]),
        (["track", "start_live", "live_prompts", "live_remove"], [0]),
        (["start_live", "live_prompts", "start_live"], [0]),
        (["open_video", "open_frames"], [0]),
    ],
)
def test_what_a_newer_request_replaces(kinds: list[str], cancelled: list[int]) -> None:
    for running in (False, True):
        jobs = Jobs()
        all_jobs = [job(n, kind) for n, kind in enumerate(kinds)]
        for each in all_jobs:
            jobs.put(each)
            if running:
                assert jobs.take() is each
        assert [j.number for j in all_jobs if j.cancelled] == cancelled


def test_interrupted_is_about_the_request_being_carried_out() -> None:
    jobs = Jobs()
    assert not jobs.interrupted()
    track, preview = job(1, "track"), job(2, "preview")
    jobs.put(track)
    jobs.take()
    jobs.put(preview)
    jobs.take()
    preview.cancelled = True
    assert jobs.interrupted()
    assert not jobs.interrupted(outer=True)
    jobs.done(preview)
    assert not jobs.interrupted()
    jobs.cancel_all()
    assert jobs.interrupted()
    assert jobs.interrupted(outer=True)
    assert jobs.take_quick() is None
    jobs.put(job(3, "track"))
    jobs.put(job(4, "preview"))
    assert jobs.take_quick() is None  # in the order they were made
    assert jobs.take().number == 3
    taken = jobs.take_quick()
    assert taken is not None
    assert taken.number == 4


def test_only_the_newest_frame_waits(tmp_path: Path) -> None:
    block = SharedBlock.create(tmp_path, "live-1", 3, 12)
    back: list[int] = []
    frames = NewestFrame(block, back.append)
    assert frames.take(2, 2, 0.0) is None
    for slot in range(3):
        block.slot(slot)[:] = slot + 10
        frames.put(slot, slot / 10)
    assert back == [0, 1]
    taken = frames.take(2, 2, 0.0)
    assert taken is not None
    assert taken[0].shape == (2, 2, 3)
    assert (taken[0] == 12).all()
    assert taken[1] == 0.2
    assert back == [0, 1, 2]
    assert frames.dropped == 2
    assert frames.take(2, 2, 0.0) is None
    with pytest.raises(ProtocolError, match="no slot 3"):
        frames.put(3, 1.0)


def test_blocks_leave_no_file(tmp_path: Path) -> None:
    written = SharedBlock.create(tmp_path, "masks-1", 2, 100)
    read = SharedBlock.open(tmp_path, "masks-1", 2, 100)
    written.slot(1)[:] = 7
    assert (read.slot(1) == 7).all()
    assert (read.slot(0) == 0).all()
    if sys.platform != "win32":
        assert not list(tmp_path.iterdir())
    for name, slots, size in (
        ("masks-1", 2, 100),
        ("../masks-1", 2, 100),
        ("masks-2", 0, 100),
        ("", 1, 1),
    ):
        with pytest.raises(ProtocolError):
            SharedBlock.open(tmp_path, name, slots, size)
    SharedBlock.create(tmp_path, "masks-3", 2, 100)
    with pytest.raises(ProtocolError, match="does not have 300 bytes"):
        SharedBlock.open(tmp_path, "masks-3", 3, 100)
    with pytest.raises(OutputError, match="cannot write"):
        SharedBlock.create(tmp_path, "masks-3", 2, 100)


def result(count: int, size: int = 9) -> FrameResult:
    zeros = np.zeros(count, np.float32)
    masks = np.ones((count, size, size), bool)
    return FrameResult(0, tuple(range(1, count + 1)), masks, zeros, zeros)


def test_mask_slots_are_given_out_until_they_come_back(tmp_path: Path) -> None:
    stop = False
    slots = MaskSlots(tmp_path, lambda: stop)
    assert slots.put(result(0))["block"] is None
    places = [slots.put(result(1)) for _ in range(RESULT_SLOTS)]
    assert sorted(p["slot"] for p in places) == list(range(RESULT_SLOTS))
    stop = True
    with pytest.raises(Cancelled):
        slots.put(result(1))
    slots.release("masks-9", 3)
    slots.release("masks-1", 99)
    with pytest.raises(Cancelled):
        slots.put(result(1))
    slots.release("masks-1", 3)
    slots.release("masks-1", 3)
    assert slots.put(result(1))["slot"] == 3
    larger = slots.put(result(5))
    assert (larger["block"], larger["slot"]) == ("masks-2", 0)


class Application:
    """Hands out frames on request, `patience` of them."""

    def __init__(self, folder: Path, count: int, patience: int = 10**6) -> None:
        self.patience = patience
        self.jobs = Jobs()
        self.asked: list[tuple[int, int]] = []
        self.block = SharedBlock.create(folder, "frames-1", FRAME_SLOTS, 4 * 3 * 3)
        self.video = RemoteVideo(
            "the test's video", width=4, height=3, fps=10.0, frame_count=count, block=self.block,
            ask=self.ask, jobs=self.jobs,
        )  # fmt: skip

    def ask(self, index: int, slot: int) -> None:
        self.asked.append((index, slot))
        if len(self.asked) <= self.patience:
            self.answer(index, slot)

    def answer(self, index: int, slot: int) -> None:
        self.block.slot(slot)[:] = index
        self.video.answer(slot, None)


def test_a_remote_video_reads_as_any_other(tmp_path: Path) -> None:
    app = Application(tmp_path, 30)
    assert [(i, int(f[0, 0, 0])) for i, f in app.video.frames()] == [(i, i) for i in range(30)]
    back = [int(frame.max()) for _, frame in app.video.frames(5, 20, reverse=True)]
    assert back == list(range(19, 4, -1))
    assert [int(app.video[i].min()) for i in (17, 3, -1)] == [17, 3, 29]
    with pytest.raises(IndexError):
        app.video[30]
    assert sorted(app.video._free) == list(range(FRAME_SLOTS))


def test_a_remote_video_that_is_left(tmp_path: Path) -> None:
    """Slots that the application may still write to are not used before it has answered."""
    app = Application(tmp_path, 30, patience=6)
    frames = app.video.frames()
    for _ in range(6):
        next(frames)
    frames.close()
    open_requests = [pair for pair in app.asked if pair[1] in app.video._abandoned]
    assert open_requests
    for index, slot in open_requests:
        app.answer(index, slot)
    app.video.answer(99, None)
    assert sorted(app.video._free) == list(range(FRAME_SLOTS))


def test_waiting_for_a_frame_ends_with_the_request(tmp_path: Path) -> None:
    app = Application(tmp_path, 30, patience=0)
    app.jobs.put(job(1, "track"))
    app.jobs.take()
    app.jobs.cancel_all()
    with pytest.raises(Cancelled):
        app.video[3]
    assert list(app.video.frames()) == []
    app.jobs = Jobs()
    app.video._jobs = Jobs()
    app.video.close()
    with pytest.raises(VideoError, match="was closed"):
        app.video[3]


def test_prompts_count_on_the_next_live_frame_however_close_it_follows(
    a_model: SurgSAM2Model, a_clip: np.ndarray, tmp_path: Path
) -> None:
    """Both arrive while the session waits for a frame."""
    block = SharedBlock.create(tmp_path, "live-1", 1, 160 * 120 * 3)
    block.slot(0)[:] = a_clip[0].ravel()
    session = LiveSession(a_model, 160, 120, NewestFrame(block, lambda slot: None))
    box = PromptSet().add(object_id=5, frame=0, box=[10, 40, 45, 80])
    session.frames.put(0, 7.0)
    stamp, result = next(session.results(lambda: session.prompt(box, None)))
    assert (stamp, result.object_ids) == (7.0, (5,))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_is_a_message(
    tmp_path: Path,
    a_model: SurgSAM2Model,
    a_clip: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    jobs = Jobs()
    engine = Engine(lambda type_, header, blobs=(): sent.append((type_, header)), jobs, tmp_path)
    engine._model = a_model
    from surgsam2 import open_video

    engine._video = open_video(a_clip)
    header, blobs = prompts_to_wire(PromptSet().add(object_id=1, frame=0, box=[5, 5, 50, 50]))
    message = Message("preview", {**header, "frame": 0}, tuple(blobs))
    with monkeypatch.context() as patch:
        patch.setattr(
            a_model.network, "decode_points", lambda *_, **__: (_ for _ in ()).throw(error)
        )
        jobs.put(Job(1, "preview", message))
        engine.carry_out_next()
    jobs.put(Job(2, "preview", message))
    engine.carry_out_next()
    (failed, why), (answered, _) = sent
    assert (failed, why["request"], why["kind"]) == ("failed", 1, "memory")
    assert why["message"].startswith("out of memory on cpu; use a smaller model")
    assert answered == "previewed"


def test_the_python_to_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_python() == sys.executable
    monkeypatch.setenv("PATH", "")
    application = tmp_path / "SlicerApp-real"
    monkeypatch.setattr(sys, "executable", str(application))
    assert default_python() == str(application)  # nothing better is known
    beside = tmp_path / "PythonSlicer"
    beside.write_text("")
    assert default_python() == str(beside)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "PythonSlicer").write_text("")
    (folder / "PythonSlicer").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert default_python() == str(folder / "PythonSlicer")
    monkeypatch.setattr(sys, "executable", str(beside))
    assert default_python() == str(beside)


def test_the_environment_is_cleaned() -> None:
    given = {"PYTHONHOME": "/a", "PYTHONPATH": "/b", "PATH": "/c", "PYTHONUTF8": "1"}
    assert clean_environment(given) == {"PATH": "/c", "PYTHONUTF8": "1"}
