"""One session of a server: an engine process, and the connections that its client uses."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from surgsam2.engine.protocol.framing import Packet
from surgsam2.engine.remote.greeting import (
    PIECE_BYTES,
    SILENCE_SECONDS,
    Ended,
    Leave,
    Ping,
    read_packet,
    to_bytes,
)
from surgsam2.engine.remote.reliable import ReliableStream
from surgsam2.engine.remote.shared_socket import SharedSocket

MAX_KEPT = 64 * 2**20
"""Bytes of results that wait for a client; then the engine process waits."""


class Session:
    """An engine process that one client uses.

    The process outlives the client's connection for a while, so that the client can connect
    again and miss nothing.

    Args:
        command: the command line of the engine process.
        environment: its environment variables.
        owner: what identifies the client's token.
        on_end: called once, when the session has ended.

    Raises:
        OSError: the engine process cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        owner: int,
        on_end: Callable[[Session], None],
    ) -> None:
        self.id = secrets.token_hex(16)
        self.owner = owner
        self._on_end = on_end
        self._stream = ReliableStream()
        self._connection: SharedSocket | None = None
        self._detached_at = time.monotonic()
        self._exit_code: int | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._taking = threading.Lock()
        """Held while a piece is taken, so that pieces of two connections keep their order."""
        self._process = subprocess.Popen(
            list(command),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may name files of a patient
        )
        threading.Thread(target=self._pump, name="surgsam2-session", daemon=True).start()

    @property
    def seconds_detached(self) -> float:
        """Seconds since the client's last connection was lost; 0 while there is one."""
        with self._changed:
            return 0.0 if self._connection is not None else time.monotonic() - self._detached_at

    @property
    def has_client(self) -> bool:
        """Whether the client is connected."""
        return self._connection is not None

    def attach(
        self, connection: SharedSocket, received: int, greeting: Callable[[int], bytes]
    ) -> None:
        """Use a new connection of the client; an earlier one is closed.

        Args:
            connection: the connection.
            received: number of the last piece that the client received.
            greeting: returns the bytes to send first, from the number of the last piece that
                was received here.

        Raises:
            ConnectionError: the session has ended meanwhile.
            ProtocolError: the client cannot have received that.
        """
        with self._changed:
            if self._closed:
                raise ConnectionError("the session has ended")
            rest = self._stream.resume(received)
            earlier, self._connection = self._connection, connection
            if earlier is not None:
                earlier.hang_up()
            self._write(greeting(self._stream.received) + rest)
            if self._exit_code is not None:
                self._write(to_bytes(Ended(self._exit_code)))
            self._changed.notify_all()

    def take(self, packet: Packet) -> None:
        """Take a packet of the client.

        Raises:
            ProtocolError: the packet is not allowed.
        """
        message = read_packet(packet, Ping, Leave)
        if isinstance(message, Leave):
            self.close()
            return
        if isinstance(message, Ping):
            with self._changed:
                self._write(self._stream.acknowledgement())
            return
        with self._taking:
            with self._changed:
                data = self._stream.receive(packet)
                if data is not None:
                    self._write(self._stream.acknowledgement())
                self._changed.notify_all()
            if data is not None:
                assert self._process.stdin is not None
                with contextlib.suppress(OSError):  # `_pump` finds out that the process has ended
                    self._process.stdin.write(data)
                    self._process.stdin.flush()

    def detach(self, connection: SharedSocket) -> None:
        """Stop using a connection that was lost."""
        with self._changed:
            if self._connection is connection:
                self._connection = None
                self._detached_at = time.monotonic()
            self._changed.notify_all()

    def close(self) -> None:
        """End the engine process and the connection."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            if self._connection is not None:
                self._connection.hang_up()
                self._connection = None
            self._changed.notify_all()
        self._process.kill()
        self._process.wait()
        self._on_end(self)

    def _pump(self) -> None:
        """Send what the engine process writes, piece by piece, until it ends."""
        source = self._process.stdout
        assert source is not None
        while data := source.read1(PIECE_BYTES):  # type: ignore[attr-defined]
            with self._changed:
                while self._stream.unacknowledged > MAX_KEPT and not self._closed:
                    self._changed.wait(1.0)
                if self._closed:
                    return
                self._write(self._stream.send(data))
        with self._changed:
            self._exit_code = self._process.wait()
            self._write(to_bytes(Ended(self._exit_code)))

    def _write(self, data: bytes) -> None:
        """Send bytes, with the lock held; a lost connection is noticed by its reader."""
        if self._connection is None:
            return
        try:
            self._connection.send(data, SILENCE_SECONDS)
        except OSError as error:
            if isinstance(error, TimeoutError):  # else what arrived before is still to be read
                self._connection.hang_up()
            self._connection = None
            self._detached_at = time.monotonic()
