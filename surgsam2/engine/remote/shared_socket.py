"""A connected socket, with or without TLS, that several threads may use at once."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time

_CHUNK = 2**18
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""Where there is `poll`, sockets may have any number; `select` takes those below 1024 there."""
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SharedSocket:
    """Sends and receives under one lock, because TLS allows one thread at a time.

    Args:
        connected: the socket; it is made non-blocking.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._lock = threading.Lock()
        self._closed = False

    def receive(self, timeout: float) -> bytes:
        """Return bytes that have arrived; none means that the other side has gone.

        Args:
            timeout: seconds to wait for them.

        Raises:
            TimeoutError: nothing arrived in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                if self._closed:
                    return b""
                try:
                    return self._socket.recv(_CHUNK)
                except _NOT_NOW:
                    pass
                except OSError:
                    return b""
            self._wait(deadline, write=False)

    def send(self, data: bytes, timeout: float) -> None:
        """Send all bytes.

        Args:
            data: the bytes.
            timeout: seconds that may pass without progress.

        Raises:
            OSError: the other side has gone, or does not read.
        """
        rest, deadline = memoryview(data), time.monotonic() + timeout
        while rest:
            with self._lock:
                if self._closed:
                    raise ConnectionError("the connection was closed")
                try:
                    sent = self._socket.send(rest[:_CHUNK])
                except _NOT_NOW:
                    sent = 0
            if sent:
                rest, deadline = rest[sent:], time.monotonic() + timeout
            else:
                self._wait(deadline, write=True)

    def hang_up(self) -> None:
        """End the connection; a thread that receives finds out at once."""
        with self._lock:
            self._closed = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the socket; no other thread may use it any more."""
        with self._lock:
            self._closed = True
            self._socket.close()

    def _wait(self, deadline: float, *, write: bool) -> None:
        rest = deadline - time.monotonic()
        if rest <= 0:
            raise TimeoutError("the other side is silent")
        event = selectors.EVENT_WRITE if write else selectors.EVENT_READ
        # `recv` or `send` reports a socket that was closed
        with contextlib.suppress(OSError, ValueError), _Selector() as selector:
            selector.register(self._socket, event)
            selector.select(min(rest, 0.5))
