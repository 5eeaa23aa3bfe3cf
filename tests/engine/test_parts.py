"""The parts that need no engine process."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surgsam2 import PromptSet, open_video
from surgsam2.engine.client.launch import clean_environment, default_python
from surgsam2.engine.protocol.events import Failed, Previewed
from surgsam2.engine.protocol.framing import ProtocolError
from surgsam2.engine.protocol.messages import Message, Request, wire_name
from surgsam2.engine.protocol.payloads import PAYLOADS, InlinePayloads, SharedMemoryPayloads, Window
from surgsam2.engine.protocol.requests import (
    REQUESTS,
    TO_ENGINE,
    FrameGiven,
    LiveFrame,
    OpenFrames,
    Preview,
)
from surgsam2.engine.protocol.shared_memory import SharedBlock
from surgsam2.engine.server.application_video import ApplicationVideo
from surgsam2.engine.server.engine import Engine
from surgsam2.engine.server.live_session import LiveSession, NewestFrame
from surgsam2.engine.server.request_queue import Cancelled, RequestQueue
from surgsam2.engine.transport.connection import Connection, SocketChannel
from surgsam2.errors import InputError, OutputError, VideoError
from surgsam2.model.build import SurgSAM2Model

KINDS = {wire_name(kind): kind for kind in REQUESTS}


def request(number: int, kind: str) -> Request:
    """Return a request without its other fields, which the queue does not look at."""
    made = object.__new__(KINDS[kind])
    object.__setattr__(made, "request", number)
    return made


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
        requests = RequestQueue()
        every = []
        for number, kind in enumerate(kinds):
            every.append(requests.put(request(number, kind)))
            if running:
                assert requests.take() is every[-1]
        assert [queued.number for queued in every if queued.cancelled] == cancelled


def test_interrupted_is_about_the_request_being_carried_out() -> None:
    requests = RequestQueue()
    assert not requests.interrupted()
    requests.put(request(1, "track"))
    requests.take()
    preview = requests.put(request(2, "preview"))
    requests.take()
    preview.cancelled = True
    assert requests.interrupted()
    assert not requests.interrupted(outer=True)
    requests.done(preview)
    assert not requests.interrupted()
    requests.cancel_all()
    assert requests.interrupted()
    assert requests.interrupted(outer=True)
    assert requests.take_quick() is None
    requests.put(request(3, "track"))
    requests.put(request(4, "preview"))
    assert requests.take_quick() is None  # in the order they were made
    assert requests.take().number == 3
    taken = requests.take_quick()
    assert taken is not None
    assert taken.number == 4


def test_only_the_newest_frame_waits() -> None:
    room: list[None] = []
    frames = NewestFrame(2, 2, lambda: room.append(None))
    assert frames.take(0.0) is None
    for number in range(3):
        frames.put(np.full((2, 2, 3), number + 10, np.uint8), number / 10)
    assert len(room) == 2
    taken = frames.take(0.0)
    assert taken is not None
    assert taken[0].shape == (2, 2, 3)
    assert (taken[0] == 12).all()
    assert taken[1] == 0.2
    assert len(room) == 3
    assert frames.dropped == 2
    assert frames.take(0.0) is None
    with pytest.raises(InputError, match=r"must be \(2, 2, 3\), got \(3, 2, 3\)"):
        frames.put(np.zeros((3, 2, 3), np.uint8), 1.0)


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


def test_slots_are_given_out_until_they_come_back() -> None:
    window = Window()
    slots = [window.acquire(lambda: False) for _ in range(PAYLOADS)]
    assert sorted(slots) == list(range(PAYLOADS))  # type: ignore[type-var]
    assert window.try_acquire() is None
    assert window.acquire(lambda: True) is None
    window.release(99)
    window.release(-1)
    assert window.try_acquire() is None
    window.release(3)
    window.release(3)
    assert window.try_acquire() == 3
    assert window.try_acquire() is None


def test_shared_memory_grows(tmp_path: Path) -> None:
    """A larger payload needs a new block; the older ones are still read in order."""
    here = SharedMemoryPayloads(tmp_path, "engine")
    there = SharedMemoryPayloads(tmp_path, "application")
    written = [[b"abc", b""], [b"de"], [b"x" * 5000, b"y"]]
    places = [here.write(slot, pieces) for slot, pieces in enumerate(written)]
    assert [place["block"] for place, _ in places] == ["engine-1", "engine-1", "engine-2"]
    for slot, (place, raw) in enumerate(places):
        assert raw == ()
        assert there.read({**place, "slot": slot}, raw) == written[slot]
    place, _ = places[2]
    for wrong in ({}, {"slot": 99}, {"lengths": [9000]}, {"lengths": [-1]}, {"size": "x"}):
        with pytest.raises(ProtocolError):
            there.read({**place, "slot": 0, **wrong} if wrong else {}, ())


def test_inline_payloads_shrink_what_can_shrink() -> None:
    payloads = InlinePayloads()
    noise = np.random.default_rng(1).integers(0, 256, 40_000).astype(np.uint8).tobytes()
    pieces = [b"short", bytes(40_000), noise]
    place, raw = payloads.write(0, pieces)
    assert [len(piece) < 1000 for piece in raw] == [True, True, False]
    assert payloads.read(place, raw) == pieces
    short = [raw[0], raw[1][:20], raw[2]]
    for sizes, blobs in (
        (None, raw), ([None], raw), ([None, 39_999, None], raw), ([None, 40_001, None], raw),
        ([None, 2**40, None], raw), ([None, "x", None], raw), ([None, -1, None], raw),
        (place["sizes"], short), ([5, 40_000, None], raw),
    ):  # fmt: skip
        with pytest.raises(ProtocolError):
            payloads.read({"sizes": sizes}, blobs)


def test_a_full_disk_costs_no_slot(tmp_path: Path) -> None:
    here, there = socket.socketpair()
    connection = Connection(
        SocketChannel(here), SharedMemoryPayloads(tmp_path / "gone", "application")
    )
    connection.accept(TO_ENGINE)
    frame = LiveFrame(1, 0.0, np.zeros((2, 2, 3), np.uint8))
    for _ in range(PAYLOADS + 1):
        with pytest.raises(OutputError, match="cannot write"):
            connection.send(frame)
    connection.close()
    there.close()


def test_payloads_without_a_slot_wait_in_order(tmp_path: Path) -> None:
    """The receiver gets all of them, and none before its slot is free."""
    ends = socket.socketpair()
    application, engine = (
        Connection(SocketChannel(end), SharedMemoryPayloads(tmp_path, name))
        for end, name in zip(ends, ("application", "engine"), strict=True)
    )
    application.accept(TO_ENGINE)
    engine.accept(TO_ENGINE)
    image = np.zeros((2, 2, 3), np.uint8)
    for number in range(3 * PAYLOADS):
        image[:] = number
        application.send(FrameGiven(1, number, image, None))
    received: list[Any] = []
    for _ in range(10):
        received += engine.receive()
        list(application.receive())
    assert [frame.ticket for frame in received] == list(range(3 * PAYLOADS))
    assert all((frame.image == frame.ticket).all() for frame in received[:PAYLOADS])
    assert all((frame.image == frame.ticket).all() for frame in received)
    application.close()
    engine.close()


class Application:
    """Gives the frames of a video on request, `patience` of them."""

    def __init__(self, count: int, patience: int = 10**6) -> None:
        self.patience = patience
        self.requests = RequestQueue()
        self.asked: list[tuple[int, int]] = []
        self.video = ApplicationVideo(
            OpenFrames(1, count, width=4, height=3, fps=10.0), self.ask, self.requests
        )

    def ask(self, ticket: int, index: int) -> None:
        self.asked.append((ticket, index))
        if len(self.asked) <= self.patience:
            self.give(ticket, index)

    def give(self, ticket: int, index: int) -> None:
        self.video.give(FrameGiven(1, ticket, np.full((3, 4, 3), index, np.uint8), None))


def test_the_applications_video_reads_as_any_other() -> None:
    app = Application(30)
    assert [(i, int(f[0, 0, 0])) for i, f in app.video.frames()] == [(i, i) for i in range(30)]
    back = [int(frame.max()) for _, frame in app.video.frames(5, 20, reverse=True)]
    assert back == list(range(19, 4, -1))
    assert [int(app.video[i].min()) for i in (17, 3, -1)] == [17, 3, 29]
    assert app.video.outstanding == 0


def test_frames_that_were_asked_for_in_vain_are_dropped() -> None:
    app = Application(30, patience=2)
    frames = app.video.frames()
    next(frames)
    frames.close()
    assert app.video.outstanding == 0
    for ticket, index in app.asked:
        app.give(ticket, index)
    app.give(99, 0)
    assert app.video.outstanding == 0


def test_a_frame_of_another_size_is_refused() -> None:
    app = Application(30, patience=0)
    wrong = np.zeros((2, 2, 3), np.uint8)
    app.give = lambda ticket, index: app.video.give(FrameGiven(1, ticket, wrong, None))  # type: ignore[method-assign]
    app.patience = 9
    with pytest.raises(VideoError, match="frame 3 cannot be read: it has 2x2 pixels"):
        app.video[3]


def test_waiting_for_a_frame_ends_with_the_request() -> None:
    app = Application(30, patience=0)
    app.requests.put(request(1, "track"))
    queued = app.requests.take()
    app.requests.cancel_all()
    with pytest.raises(Cancelled):
        app.video[3]
    assert list(app.video.frames()) == []
    app.requests.done(queued)
    app.video.close()
    with pytest.raises(VideoError, match="was closed"):
        app.video[3]


def test_prompts_count_on_the_next_live_frame_however_close_it_follows(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    """Prompts and a frame both arrive while the session waits for a frame."""
    session = LiveSession(a_model, 160, 120, NewestFrame(160, 120, lambda: None))
    box = PromptSet().add(object_id=5, frame=0, box=[10, 40, 45, 80])
    session.frames.put(a_clip[0], 7.0)
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
    a_model: SurgSAM2Model,
    a_clip: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    sent: list[Any] = []

    def send(message: Message, unwanted: Any = None) -> bool:
        sent.append(message)
        return True

    requests = RequestQueue()
    engine = Engine(send, requests)
    engine.use(model=a_model, video=open_video(a_clip))
    prompts = PromptSet().add(object_id=1, frame=0, box=[5, 5, 50, 50])
    with monkeypatch.context() as patch:
        patch.setattr(
            a_model.network, "decode_points", lambda *_, **__: (_ for _ in ()).throw(error)
        )
        requests.put(Preview(1, 0, prompts))
        engine.carry_out_next()
    requests.put(Preview(2, 0, prompts))
    engine.carry_out_next()
    failed, previewed = sent
    assert isinstance(failed, Failed)
    assert (failed.request, failed.kind) == (1, "memory")
    assert failed.message.startswith("out of memory on cpu; free memory and begin again")
    assert isinstance(previewed, Previewed)


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
