"""The worker's end of the connection: a thread that reads, and sending from any thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from surgsam2.engine.protocol.messages import Decoder, Message, ProtocolError, encode

_CHUNK = 2**18


class Send(Protocol):
    """`Link.send`."""

    def __call__(self, type_: str, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None: ...


class Link:
    """A connected socket.

    Reading has a thread of its own, so that a cancel, a frame or the end of the
    application is noticed while the network computes.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._decoder = Decoder()
        self._lock = threading.Lock()

    def send(self, type_: str, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Waits while the other side does not read. A lost connection is left to the reader."""
        data = encode(type_, header, blobs)
        with self._lock, contextlib.suppress(OSError):
            self._socket.sendall(data)

    def messages(self) -> Iterator[Message]:
        """Waits for messages until the other side has gone.

        Raises:
            ProtocolError: what it sends cannot be read.
        """
        while True:
            yield from self._decoder.messages()
            try:
                data = self._socket.recv(_CHUNK)
            except OSError:
                return
            if not data:
                return
            self._decoder.feed(data)

    def read_in_thread(
        self, on_message: Callable[[Message], None], on_end: Callable[[str], None]
    ) -> None:
        """Start the thread.

        Args:
            on_message: gets every message.
            on_end: called once, with the reason, or nothing when the other side has gone.
        """

        def run() -> None:
            reason = ""
            try:
                for message in self.messages():
                    on_message(message)
            except ProtocolError as error:
                reason = str(error)
            on_end(reason)

        threading.Thread(target=run, name="surgsam2-link", daemon=True).start()
