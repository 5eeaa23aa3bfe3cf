"""The parts of a server that need no engine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surgsam2.engine.protocol.framing import PROTOCOL_VERSION, Packet
from surgsam2.engine.protocol.requests import Chunk, ChunkWanted, OpenUpload
from surgsam2.engine.remote import kept_session
from surgsam2.engine.remote.greeting import Accepted, Attach, Leave, Queued, Refused, to_bytes
from surgsam2.engine.remote.reliable import DATA
from surgsam2.engine.remote.server import ServerLimits, Statistics
from surgsam2.engine.remote.session import Session
from surgsam2.engine.remote.shared_socket import SharedSocket
from surgsam2.engine.server.remote_files import RemoteFiles
from surgsam2.errors import OutputError
from tests.engine.remote.helpers import TOKEN, Serve, Stranger, gone


class StopError(Exception):
    """Ends a transfer."""


def test_a_cache_removes_its_own_videos_alone(tmp_path: Path) -> None:
    """A folder that holds other files, too, may be named as the cache."""
    others = [tmp_path / "holiday.mp4", tmp_path / f"{'0' * 64}.txt.bak"]
    own = [tmp_path / f"{'1' * 64}.mp4", tmp_path / f"{'2' * 64}"]
    for path in (*others, *own):
        path.write_bytes(bytes(60))
    (tmp_path / "folder").mkdir()
    files = RemoteFiles(cache=tmp_path, limit=100)

    def stop() -> None:
        raise StopError

    with pytest.raises(StopError):
        files.receive(OpenUpload(1, "3" * 64, 90, ".mp4"), lambda wanted: None, stop)
    files.close()
    assert [path for path in others if not path.exists()] == []
    assert [path for path in own if path.exists()] == []
    assert (tmp_path / "folder").is_dir()


def test_a_handshake_that_never_ends_is_ended(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then must not keep one of the few places for unknown clients."""
    monkeypatch.setattr("surgsam2.engine.remote.server.GREETING_SECONDS", 1.0)
    server = serve(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    stranger = Stranger(server.port)
    ended = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            stranger.socket.sendall(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc")
            while not ended.wait(0.2):
                stranger.socket.sendall(b"\x00")

    thread = threading.Thread(target=drip)
    thread.start()
    stranger.socket.settimeout(8.0)
    try:
        assert stranger.is_closed()
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def session() -> Any:
    """A session whose engine is a process that says nothing."""
    made = Session(["sleep", "60"], {"PATH": "/usr/bin:/bin"}, 0, lambda ended: None)
    yield made
    made.close()


class Connection(SharedSocket):
    """A connection that swallows everything."""

    def __init__(self) -> None:
        self.sent = b""

    def send(self, data: bytes, timeout: float) -> None:
        self.sent += data

    def hang_up(self) -> None:
        pass


def test_a_session_that_has_ended_takes_no_connection(session: Session) -> None:
    """Else its client would wait for ever: nobody ends such a connection."""
    session.close()
    with pytest.raises(ConnectionError, match="has ended"):
        session.attach(Connection(), 0, lambda received: b"")
    assert not session.has_client


def test_pieces_of_two_connections_keep_their_order(session: Session) -> None:
    """A client that connects again may be faster than the thread of its lost connection."""

    class Slow:
        """Takes long over the first piece."""

        def __init__(self) -> None:
            self.taken: list[bytes] = []

        def write(self, data: bytes) -> None:
            if data == b"1":
                time.sleep(0.3)
            self.taken.append(data)

        def flush(self) -> None:
            pass

    session._process.stdin, given = Slow(), session._process.stdin  # type: ignore[assignment]
    taken = session._process.stdin.taken  # type: ignore[union-attr]
    session.attach(Connection(), 0, lambda received: b"")
    work: list[Callable[[], None]] = []
    for number in (1, 2):
        packet = Packet(DATA, {"number": number}, (str(number).encode(),))
        work.append(lambda packet=packet: session.take(packet))  # type: ignore[misc]
    first = threading.Thread(target=work[0])
    first.start()
    while session._stream.received == 0:
        time.sleep(0.001)
    work[1]()
    first.join()
    session._process.stdin = given
    assert taken == [b"1", b"2"]


def test_a_cache_without_room(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(bytes(60))
    files = RemoteFiles(cache=tmp_path, limit=100)
    with pytest.raises(OutputError, match="no room"):
        files._make_room(101)
    files.close()


def send(files: RemoteFiles, data: bytes, between: Callable[[], None] = lambda: None) -> Path:
    """Send a file to a session, and do something when it wants the first part."""
    request = OpenUpload(1, hashlib.sha256(data).hexdigest(), len(data), ".mp4")

    def give(wanted: ChunkWanted) -> None:
        between()
        files.give(Chunk(wanted.upload, wanted.offset, data, None))

    return files.receive(request, give, lambda: None)


def test_a_cache_from_which_another_session_removes_a_file_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / ("1" * 64)
    other.touch()
    listed = Path.iterdir

    def list_then_remove(folder: Path) -> list[Path]:
        found = list(listed(folder))
        other.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "iterdir", list_then_remove)
    files = RemoteFiles(cache=tmp_path, limit=100)
    assert send(files, b"a" * 60).is_file()
    files.close()


def test_a_full_cache_keeps_the_videos_that_sessions_use(tmp_path: Path) -> None:
    first, second = (RemoteFiles(cache=tmp_path, limit=100) for _ in range(2))
    kept = send(first, b"a" * 60)
    with pytest.raises(OutputError, match="no room"):
        send(second, b"b" * 60)
    assert kept.read_bytes() == b"a" * 60
    assert send(first, b"a" * 60) == kept  # it is there already
    assert send(first, b"c" * 60).is_file()  # the session does not use the one before any more
    assert not kept.exists()
    first.close()
    assert send(second, b"b" * 60).is_file()
    second.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_cache_keeps_a_video_that_is_being_sent(tmp_path: Path) -> None:
    first, second = (RemoteFiles(cache=tmp_path, limit=100) for _ in range(2))

    def send_another() -> None:
        (part,) = tmp_path.iterdir()
        os.truncate(part, 60)
        with pytest.raises(OutputError, match="no room"):
            send(second, b"b" * 60)

    assert send(first, b"a" * 60, send_another).read_bytes() == b"a" * 60
    first.close()
    second.close()


def test_a_client_that_waits_gets_no_session_of_a_server_that_was_closed(serve: Serve) -> None:
    """Nobody would end it: its turn comes because the session before it is ended."""
    server = serve(ServerLimits(sessions=1, queue=1))
    first, second = Stranger(server.port), Stranger(server.port)
    assert isinstance(first.attach(), Accepted)
    assert second.attach() == Queued(1)
    server.close()
    assert second.is_closed()
    assert (server.statistics.sessions, server.running) == (1, 0)


def test_a_session_that_begins_while_the_server_is_closed_is_ended(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Session):
        """Takes long to begin: `close` is called meanwhile."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            begun.set()
            assert go_on.wait(30)

    monkeypatch.setattr("surgsam2.engine.remote.server.Session", Slow)
    stranger = Stranger(server.port)
    stranger.socket.sendall(to_bytes(Attach(TOKEN, PROTOCOL_VERSION, "1", None, 0)))
    assert begun.wait(30)
    closing = threading.Thread(target=server.close)
    closing.start()
    closing.join(0.3)  # it waits for the session, or has missed it
    go_on.set()
    closing.join()
    assert stranger.is_closed()
    assert not server.running


def test_a_server_goes_on_when_the_system_gives_no_thread(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    start, refused = threading.Thread.start, []

    def start_all_but_one(thread: threading.Thread) -> None:
        if thread._target == server._serve and not refused:  # type: ignore[attr-defined]
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_all_but_one)
    assert Stranger(server.port).is_closed()
    assert isinstance(Stranger(server.port).attach("wrong"), Refused)
    assert len(refused) == 1


def test_a_client_that_leaves_the_queue_gets_no_turn(serve: Serve) -> None:
    """Its turn may come before its connection ends; the session would wait for it in vain."""
    server = serve(ServerLimits(sessions=1, queue=1))
    first, second = Stranger(server.port), Stranger(server.port)
    assert isinstance(first.attach(), Accepted)
    assert second.attach() == Queued(1)
    second.socket.sendall(to_bytes(Leave()))
    second.socket.settimeout(5.0)
    assert second.is_closed()
    assert server.waiting == 0
    first.socket.sendall(to_bytes(Leave()))
    assert first.is_closed()
    gone(server)
    assert server.statistics.sessions == 1


def test_a_keeper_does_not_end_the_session_that_begins_while_it_looks() -> None:
    class Server:
        """A server whose only session begins between two looks at it, and ends later."""

        def __init__(self) -> None:
            self.looks = 0
            self.ran_when_closed = True

        def _runs(self) -> bool:
            self.looks += 1
            return 2 <= self.looks < 5

        @property
        def running(self) -> int:
            return int(self._runs())

        @property
        def statistics(self) -> Statistics:
            return Statistics(sessions=int(self._runs() or self.looks >= 5))

        def close(self) -> None:
            self.ran_when_closed = 2 <= self.looks < 5

    server = Server()
    kept_session._close_at_end(server)  # type: ignore[arg-type]
    assert not server.ran_when_closed


def test_a_socket_with_a_high_number_is_waited_for_without_work() -> None:
    """As a server has that holds a thousand files; `select` would refuse it at once."""
    resource, fcntl = (pytest.importorskip(name) for name in ("resource", "fcntl"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < 2048:
        pytest.skip("this system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2048), limits[1]))
    here, there = socket.socketpair()
    try:
        high = socket.socket(fileno=fcntl.fcntl(here, fcntl.F_DUPFD, 1500))
        shared, began = SharedSocket(high), time.thread_time()
        with pytest.raises(TimeoutError):
            shared.receive(0.5)
        assert time.thread_time() - began < 0.1
        there.sendall(b"x")
        assert shared.receive(30.0) == b"x"
        shared.close()
    finally:
        here.close()
        there.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
