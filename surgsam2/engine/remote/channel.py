"""The client's side of a session with a server; it survives lost connections."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

from surgsam2.engine.protocol.events import ConnectionChanged
from surgsam2.engine.protocol.framing import PROTOCOL_VERSION, PacketDecoder, ProtocolError
from surgsam2.engine.remote.dialing import Dialer
from surgsam2.engine.remote.greeting import (
    PIECE_BYTES,
    PING_SECONDS,
    SILENCE_SECONDS,
    Accepted,
    Attach,
    Ended,
    Leave,
    Ping,
    Queued,
    Refused,
    read_packet,
    to_bytes,
)
from surgsam2.engine.remote.reliable import ReliableStream
from surgsam2.engine.transport.base import EngineError
from surgsam2.engine.transport.connection import Channel, SocketChannel
from surgsam2.version import __version__

RESTORE_SECONDS = 110.0
"""Seconds for which a lost connection is tried again; the server keeps the session longer."""
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.5
_LEAVE_SECONDS = 2.0
"""Seconds in which a server is told that the session ends."""


class ServerChannel(Channel):
    """A session with a server, over one connection after another.

    Connecting happens in a thread; everything else in the caller's thread, without waiting.

    Args:
        name: the server's address, for messages.
        dialer: makes the connections.
        token: the secret that the server knows.
    """

    def __init__(self, name: str, dialer: Dialer, token: str) -> None:
        self.name = name
        """The server's address."""
        self.news: list[ConnectionChanged] = []
        """What has happened to the connection; the caller takes it out."""
        self.exit_code: int | None = None
        """Exit code of the engine process, once it has ended."""
        self._dialer, self._token = dialer, token
        self._stream = ReliableStream()
        self._decoder = PacketDecoder()
        self._socket: SocketChannel | None = None
        self._session: str | None = None
        self._error: EngineError | None = None
        self._lost_at: float | None = None
        self._heard = self._spoke = 0.0
        self._connecting: _Connecting | None = None
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._tell("connecting", f"connecting to {name}")
        self._connect()

    @property
    def sockets(self) -> list[tuple[socket.socket, int]]:
        """See `Channel.sockets`."""
        own = [] if self._socket is None else self._socket.sockets
        return [(self._woken, selectors.EVENT_READ), *own]

    def check(self) -> None:
        """Raise `EngineError` when the session cannot be had or restored."""
        if self._error is not None:
            raise self._error

    def write(self, data: bytes) -> None:
        """Send bytes; they are kept until the server has them."""
        for start in range(0, len(data), PIECE_BYTES):
            sent = self._stream.send(data[start : start + PIECE_BYTES])
            if self._socket is not None:
                self._socket.write(sent)
                self._spoke = time.monotonic()

    def flush(self) -> None:
        """Send what can be sent now, and look after the connection."""
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(64):
                pass
        self._take_connection()
        if self._socket is None:
            return
        now = time.monotonic()
        if now - self._spoke > PING_SECONDS:
            self._socket.write(to_bytes(Ping()))
            self._spoke = now
        self._socket.flush()
        if self._socket.closed or now - self._heard > SILENCE_SECONDS:
            self._lose()

    def read(self) -> bytes:
        """Return the bytes that have arrived."""
        if self._socket is None:
            return b""
        self._decoder.feed(self._socket.read())
        pieces, new = [], False
        for packet in self._decoder.packets():
            self._heard = time.monotonic()
            ended = read_packet(packet, Ended)
            if isinstance(ended, Ended):
                self.exit_code = ended.exit_code
                continue
            piece = self._stream.receive(packet)
            if piece is not None:
                pieces.append(piece)
                new = True
        if new:
            self._socket.write(self._stream.acknowledgement())
            self._spoke = time.monotonic()
        if self._socket.closed:
            self._lose()
        return b"".join(pieces)

    def close(self) -> None:
        """End the session; the server is told in a thread."""
        self.closed = True
        if self._connecting is not None:
            self._connecting.abandon()
        if self._socket is not None:
            threading.Thread(
                target=self._socket.part, args=(to_bytes(Leave()), _LEAVE_SECONDS)
            ).start()
        self._wake.close()
        self._woken.close()

    def _tell(self, state: str, message: str) -> None:
        self.news.append(ConnectionChanged(state, message))  # type: ignore[arg-type]

    def _connect(self) -> None:
        self._connecting = _Connecting(
            self.name,
            self._dialer,
            Attach(
                self._token,
                PROTOCOL_VERSION,
                __version__,
                self._session,
                self._stream.received,
            ),
            self._wake_up,
        )

    def _wake_up(self) -> None:
        with contextlib.suppress(OSError):
            self._wake.send(b"x")

    def _take_connection(self) -> None:
        """Use a connection that was made, or try again when it failed."""
        connecting = self._connecting
        if connecting is None:
            return
        if connecting.queued is not None:
            position, connecting.queued = connecting.queued, None
            self._tell("queued", f"{self.name} is busy; place {position} in its queue")
        if not connecting.done:
            return
        self._connecting = None
        if connecting.accepted is not None:
            self._use(connecting)
            return
        assert connecting.error is not None
        lost = time.monotonic() - self._lost_at if self._lost_at is not None else None
        if lost is None or not connecting.may_retry or lost > RESTORE_SECONDS:
            self._error = connecting.error
            self.closed = True
        else:
            self._connect()

    def _use(self, connecting: _Connecting) -> None:
        assert connecting.accepted is not None
        assert connecting.socket is not None
        restored = self._session is not None
        self._session, self._lost_at = connecting.accepted.session, None
        self._socket, self._decoder = SocketChannel(connecting.socket), connecting.decoder
        self._decoder.accept_large(2 * PIECE_BYTES)
        self._heard = self._spoke = time.monotonic()
        self._socket.write(self._stream.resume(connecting.accepted.received))
        again = "again " if restored else ""
        self._tell("connected", f"connected {again}to {self.name}")

    def _lose(self) -> None:
        """Begin to restore a connection that was lost."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        if self.exit_code is not None:
            self.closed = True
            return
        self._lost_at = time.monotonic()
        self._tell("lost", f"the connection to {self.name} was lost; it is being restored")
        self._connect()


class _RefusedError(EngineError):
    """The server has said why there is no session."""


class _Connecting:
    """Makes one connection in a thread.

    Args:
        name: the server's address, for messages.
        dialer: makes the connection.
        attach: the greeting.
        on_change: called from the thread when something has happened.
    """

    def __init__(
        self,
        name: str,
        dialer: Dialer,
        attach: Attach,
        on_change: Callable[[], None],
    ) -> None:
        self.done = False
        self.queued: int | None = None
        self.accepted: Accepted | None = None
        self.socket: socket.socket | None = None
        self.error: EngineError | None = None
        self.may_retry = True
        """Whether a later attempt may succeed."""
        self.decoder = PacketDecoder()
        self._name, self._dialer, self._attach = name, dialer, attach
        self._on_change = on_change
        self._abandoned = threading.Event()
        self._ending = threading.Lock()
        threading.Thread(target=self._run, name="surgsam2-connect", daemon=True).start()

    def abandon(self) -> None:
        """Give up; a server that knows the session already is told in a thread."""
        with self._ending:
            self._abandoned.set()
            if self.done:
                threading.Thread(target=self._leave).start()

    def _run(self) -> None:
        try:
            self._make()
        except _RefusedError as error:
            self.error, self.may_retry = error, False
        except (EngineError, OSError, ProtocolError) as error:
            self.error, self.may_retry = self._dialer.explain(error), self._dialer.may_retry(error)
            if self._attach.session is not None:
                self._abandoned.wait(_RETRY_SECONDS)
        with self._ending:
            self.done, abandoned = True, self._abandoned.is_set()
        if abandoned:
            self._leave()
        self._on_change()

    def _leave(self) -> None:
        if self.socket is not None:
            SocketChannel(self.socket).part(to_bytes(Leave()), _LEAVE_SECONDS)

    def _make(self) -> None:
        connected = self._dialer.dial()
        try:
            connected.sendall(to_bytes(self._attach))
            self.accepted = self._answer(connected)
        except BaseException:
            connected.close()
            raise
        self.socket = connected

    def _answer(self, connected: socket.socket) -> Accepted | None:
        """Wait for the server's answer; in the queue that may take long.

        Returns:
            The answer; None when nobody wants the connection any more.
        """
        deadline, queued = time.monotonic() + (connected.gettimeout() or 0.0), False
        connected.settimeout(_LOOK_SECONDS)
        while not self._abandoned.is_set():
            for packet in self.decoder.packets():
                message = read_packet(packet, Queued, Refused, Accepted)
                if isinstance(message, Accepted):
                    return message
                if isinstance(message, Refused):
                    raise _RefusedError(message.kind, f"{self._name}: {message.message:.500}")
                if isinstance(message, Queued):
                    self.queued, queued = message.position, True
                    self._on_change()
            try:
                data = connected.recv(2**12)
            except TimeoutError:
                if queued or time.monotonic() < deadline:
                    continue
                raise
            if not data:
                raise ConnectionError("it closed the connection")
            self.decoder.feed(data)
        return None
