"""The engine process's end of the connection: one thread reads, any thread may send."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from surgsam2.engine.protocol.framing import ProtocolError
from surgsam2.engine.protocol.messages import Message, MessageError, MessageStream, Released
from surgsam2.engine.protocol.payloads import Payloads

_CHUNK = 2**18


class ByteStream(Protocol):
    """What a connection reads bytes from and writes them to; both may wait."""

    def read(self) -> bytes:
        """Return some bytes that have arrived; none means that the other side has gone."""

    def write(self, data: bytes) -> None:
        """Write all bytes.

        Raises:
            OSError: the other side has gone.
        """


class SocketStream:
    """A connected socket as a `ByteStream`."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def read(self) -> bytes:
        """Return what has arrived; see `ByteStream.read`."""
        try:
            return self._socket.recv(_CHUNK)
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        """Write all bytes; see `ByteStream.write`."""
        self._socket.sendall(data)


class PipeStream:
    """Two pipes as a `ByteStream`, such as the standard streams of this process.

    Args:
        source: file descriptor to read from.
        target: file descriptor to write to.
    """

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target

    def read(self) -> bytes:
        """Return what has arrived; see `ByteStream.read`."""
        try:
            return os.read(self._source, _CHUNK)
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        """Write all bytes; see `ByteStream.write`."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._target, rest) :]


class Connection:
    """Exchanges messages with the application.

    Reading has a thread of its own, so that a cancel, a frame or the end of the
    application is noticed while the network computes.

    Args:
        stream: carries the bytes; the application is known already.
        payloads: how large arrays travel.
        incoming: the classes of the messages that the application may send.
    """

    def __init__(
        self, stream: ByteStream, payloads: Payloads, incoming: Iterable[type[Message]]
    ) -> None:
        self._bytes = stream
        self._stream = MessageStream(payloads, self._on_read)
        self._stream.accept(incoming)
        self._lock = threading.Lock()

    def send(self, message: Message, unwanted: Callable[[], bool] = lambda: False) -> bool:
        """Send a message; wait while the application does not read.

        A lost connection is left to the reading thread to notice.

        Args:
            message: the message.
            unwanted: asked while all slots for payloads are taken; true gives up.

        Returns:
            False when it gave up.

        Raises:
            ProtocolError: the message is too large.
            OutputError: there is no room for the payload.
        """
        data = self._stream.encode(message, lambda: self._stream.window.acquire(unwanted))
        if data is None:
            return False
        with self._lock, contextlib.suppress(OSError):
            self._bytes.write(data)
        return True

    def read_in_thread(
        self,
        on_message: Callable[[Message], None],
        on_refused: Callable[[MessageError], None],
        on_end: Callable[[str], None],
    ) -> None:
        """Start the thread that reads.

        Args:
            on_message: called with every message.
            on_refused: called for every message that cannot be understood.
            on_end: called once, with the reason, or with nothing when the application has gone.
        """

        def run() -> None:
            try:
                while True:
                    self._pass_on(on_message, on_refused)
                    data = self._bytes.read()
                    if not data:
                        on_end("")
                        return
                    self._stream.feed(data)
            except ProtocolError as error:
                on_end(str(error))

        threading.Thread(target=run, name="surgsam2-connection", daemon=True).start()

    def _pass_on(
        self, on_message: Callable[[Message], None], on_refused: Callable[[MessageError], None]
    ) -> None:
        while True:
            try:
                for message in self._stream.messages():
                    on_message(message)
                return
            except MessageError as error:
                on_refused(error)

    def _on_read(self, slot: int) -> None:
        self.send(Released(slot))
