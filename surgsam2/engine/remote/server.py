"""The server that lets applications on other machines use engines of this one."""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from surgsam2.engine.protocol.framing import PROTOCOL_VERSION, Packet, PacketDecoder, ProtocolError
from surgsam2.engine.remote.greeting import (
    PIECE_BYTES,
    SESSION_ENDED,
    SILENCE_SECONDS,
    Accepted,
    Attach,
    Queued,
    Refused,
    read_packet,
    to_bytes,
)
from surgsam2.engine.remote.session import Session
from surgsam2.engine.remote.shared_socket import SharedSocket
from surgsam2.version import __version__

logger = logging.getLogger(__name__)

GREETING_SECONDS = 10.0
"""Seconds in which a new connection must show the token."""
MAX_UNKNOWN = 32
"""Connections that may be open at once without having shown the token."""
_QUEUE_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class ServerLimits:
    """What the clients of a server may take together."""

    sessions: int = 1
    """Engine processes that run at once."""
    queue: int = 16
    """Clients that may wait for their turn."""
    keep_seconds: float = 120.0
    """Seconds that a session waits for a client whose connection was lost."""


@dataclass
class Statistics:
    """Counts since the server was started, for the health endpoint."""

    began: float = field(default_factory=time.time)
    sessions: int = 0
    """Sessions that were begun."""
    resumed: int = 0
    """Connections that resumed a session."""
    refused: int = 0
    """Connections that were refused, such as those with a wrong token."""


class EngineServer:
    """Accepts connections, checks tokens, and gives each client an engine process.

    Args:
        listener: a listening socket.
        tokens: the secrets that clients may show.
        tls: the server's certificate and key; None for connections without TLS.
        arguments: further arguments of the engine processes.
        limits: what the clients may take together.
        python: interpreter of the engine processes; None is this one.
    """

    def __init__(
        self,
        listener: socket.socket,
        tokens: Sequence[str],
        *,
        tls: ssl.SSLContext | None = None,
        arguments: Sequence[str] = (),
        limits: ServerLimits | None = None,
        python: str | None = None,
    ) -> None:
        self.limits = limits or ServerLimits()
        self.statistics = Statistics()
        self._listener = listener
        self._tokens = [token.encode() for token in tokens]
        self._tls = tls
        self._command = [
            python or sys.executable, "-m", "surgsam2.engine", "--standard-streams", *arguments,
        ]  # fmt: skip
        self._sessions: dict[str, Session] = {}
        self._queue: list[object] = []
        self._unknown = threading.BoundedSemaphore(MAX_UNKNOWN)
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._listener.getsockname()[1])

    @property
    def running(self) -> int:
        """Number of sessions."""
        return len(self._sessions)

    @property
    def waiting(self) -> int:
        """Number of clients that wait for their turn."""
        return len(self._queue)

    def run(self) -> None:
        """Accept connections until `close` is called."""
        threading.Thread(target=self._end_lost_sessions, daemon=True).start()
        while not self._closed.is_set():
            try:
                connected, _ = self._listener.accept()
            except OSError:
                if self._closed.is_set():
                    return
                time.sleep(0.1)  # such as too many open files
                continue
            if not self._unknown.acquire(blocking=False):
                connected.close()
                continue
            try:
                threading.Thread(target=self._serve, args=(connected,), daemon=True).start()
            except RuntimeError:  # the system gives no more threads
                self._unknown.release()
                connected.close()

    def close(self) -> None:
        """End all sessions and accept no more connections."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:  # a session that is being begun is among them, or finds out
            sessions = list(self._sessions.values())
        for session in sessions:
            session.close()

    def _serve(self, connected: socket.socket) -> None:
        """Serve one connection from its beginning to its end."""
        known = False
        link: SharedSocket | None = None
        try:
            connected.settimeout(GREETING_SECONDS)
            if connected.family in (socket.AF_INET, socket.AF_INET6):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_side=True)
            link = SharedSocket(connected)
            packets = _Packets(link)
            attach, owner = self._greet(link, packets)
            if attach is None:
                return
            self._unknown.release()
            known = True
            packets.accept_pieces()
            session = self._session_for(attach, owner, link)
            if session is not None:
                self._carry(session, link, packets)
        except (OSError, ProtocolError) as error:
            logger.info("a connection ended: %s", type(error).__name__)
        finally:
            if not known:
                self._unknown.release()
            (connected if link is None else link).close()

    def _greet(self, link: SharedSocket, packets: _Packets) -> tuple[Attach | None, int]:
        """Return the client's greeting and the number of its token; None when it is refused."""
        packet = packets.next(GREETING_SECONDS)
        attach = None if packet is None else read_packet(packet, Attach)
        if not isinstance(attach, Attach):
            self.statistics.refused += 1
            return None, -1
        token = attach.token.encode(errors="replace")
        matches = [hmac.compare_digest(token, known) for known in self._tokens]
        if True not in matches:
            self.statistics.refused += 1
            logger.warning("a connection with a wrong token was refused")
            time.sleep(0.5)
            text = "the token is wrong; ask the server's operator for yours"
            link.send(to_bytes(Refused("input", text)), GREETING_SECONDS)
            return None, -1
        if attach.protocol != PROTOCOL_VERSION:
            self.statistics.refused += 1
            text = (
                f"the server has surgsam2 {__version__} and this computer {attach.surgsam2:.40}, "
                "which do not understand each other; install the same version on both"
            )
            link.send(to_bytes(Refused("version", text)), GREETING_SECONDS)
            return None, -1
        return attach, matches.index(True)

    def _session_for(self, attach: Attach, owner: int, link: SharedSocket) -> Session | None:
        """Resume a session, or wait for a new one; None when the client was refused."""
        if attach.session is not None:
            session = self._sessions.get(attach.session)
            if session is None or session.owner != owner:
                self.statistics.refused += 1
                link.send(to_bytes(Refused("crash", SESSION_ENDED)), GREETING_SECONDS)
                return None
            self.statistics.resumed += 1
        else:
            session = self._new_session(owner, link)
            if session is None:
                return None
        try:
            session.attach(
                link, attach.received, lambda received: to_bytes(Accepted(session.id, received))
            )
        except ConnectionError:
            link.send(to_bytes(Refused("crash", SESSION_ENDED)), GREETING_SECONDS)
            return None
        return session

    def _new_session(self, owner: int, link: SharedSocket) -> Session | None:
        ticket = object()
        with self._lock:
            if self._free < 1 and len(self._queue) >= self.limits.queue:
                text = "the server is busy and its queue is full; try again later"
                link.send(to_bytes(Refused("start", text)), GREETING_SECONDS)
                return None
            self._queue.append(ticket)
        try:
            self._wait_for_turn(ticket, link)
            with self._lock:
                if self._closed.is_set():
                    raise ConnectionError("the server ends")
                try:
                    session = Session(self._command, dict(os.environ), owner, self._ended)
                except OSError as error:
                    text = f"the server cannot start an engine: {error.strerror}"
                    link.send(to_bytes(Refused("start", text)), GREETING_SECONDS)
                    return None
                self._sessions[session.id] = session
                self.statistics.sessions += 1
                return session
        finally:
            with self._lock:
                self._queue.remove(ticket)

    @property
    def _free(self) -> int:
        return self.limits.sessions - len(self._sessions) - len(self._queue)

    def _wait_for_turn(self, ticket: object, link: SharedSocket) -> None:
        """Wait until there is room for a session; raise when the client has gone meanwhile."""
        told = 0
        while True:
            with self._lock:
                position = self._queue.index(ticket) + 1
                if position <= self.limits.sessions - len(self._sessions):
                    return
            if self._closed.is_set():
                raise ConnectionError("the server ends")
            if position != told:
                link.send(to_bytes(Queued(position)), GREETING_SECONDS)
                told = position
            with contextlib.suppress(TimeoutError):
                link.receive(_QUEUE_LOOK_SECONDS)  # `Leave`, all that it may say here, or its end
                raise ConnectionError("the client has gone")

    def _carry(self, session: Session, link: SharedSocket, packets: _Packets) -> None:
        """Pass on what the client sends until the connection ends."""
        try:
            while (packet := packets.next(SILENCE_SECONDS)) is not None:
                session.take(packet)
        except ProtocolError:
            session.close()  # the other side is no client of this protocol
            raise
        finally:
            session.detach(link)

    def _end_lost_sessions(self) -> None:
        while not self._closed.wait(min(1.0, self.limits.keep_seconds / 4)):
            for session in list(self._sessions.values()):
                if session.seconds_detached > self.limits.keep_seconds:
                    logger.info("a session ended because its client did not come back")
                    session.close()

    def _ended(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.id, None)


class _Packets:
    """The packets of one connection, in order."""

    def __init__(self, link: SharedSocket) -> None:
        self._link = link
        self._decoder = PacketDecoder()

    def accept_pieces(self) -> None:
        """Accept pieces of data from now on; before, only small packets are."""
        self._decoder.accept_large(PIECE_BYTES)

    def next(self, timeout: float) -> Packet | None:
        """Return the next packet; None when the other side has gone.

        Args:
            timeout: seconds until the packet must be complete.

        Raises:
            ProtocolError: the bytes are no packets.
            TimeoutError: the packet is not complete in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            packet = next(self._decoder.packets(), None)
            if packet is not None:
                return packet
            data = self._link.receive(max(0.0, deadline - time.monotonic()))
            if not data:
                return None
            self._decoder.feed(data)
