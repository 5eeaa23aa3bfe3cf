"""The application's end of the connection: sockets that never wait."""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from surgsam2.engine.protocol.messages import (
    PROTOCOL_VERSION,
    Decoder,
    Message,
    ProtocolError,
    encode,
)

_CHUNK = 2**18
_MOST_VISITORS = 8


class VersionError(ProtocolError):
    """The surgsam2 on the other side speaks another protocol."""


class Channel:
    """A connected socket: sends what it can, keeps the rest, and never blocks."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.closed = False
        """Whether the other side has gone."""
        self._out = bytearray()
        self._decoder = Decoder()

    @property
    def has_unsent(self) -> bool:
        return bool(self._out)

    def send(self, type_: str, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        self._out += encode(type_, header, blobs)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now."""
        try:
            while self._out:
                del self._out[: self.socket.send(self._out[:_CHUNK])]
        except BlockingIOError:
            pass
        except OSError:  # it has gone; what it said before is still to be read
            self._out.clear()

    def receive(self) -> Iterator[Message]:
        """The messages that are here.

        Raises:
            ProtocolError: the other side sends something else.
        """
        try:
            data = self.socket.recv(_CHUNK)
            self.closed |= not data
            self._decoder.feed(data)
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        yield from self._decoder.messages()

    def close(self) -> None:
        self.closed = True
        self.socket.close()


class Door:
    """Waits at a local port for the one that knows the token; turns others away."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(32)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(_MOST_VISITORS)
        self._socket.setblocking(False)
        self._visitors: list[Channel] = []

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def sockets(self) -> list[socket.socket]:
        """Those to wait for."""
        return [self._socket, *(visitor.socket for visitor in self._visitors)]

    def welcome(self) -> Channel | None:
        """The worker's channel, once it is there.

        Raises:
            VersionError: it is there, and cannot be talked to.
        """
        try:
            while True:
                connection, _ = self._socket.accept()
                if len(self._visitors) == _MOST_VISITORS:  # one that comes and says nothing
                    self._visitors.pop(0).close()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._visitors.append(Channel(connection))
        except OSError:  # nobody else is waiting
            pass
        for visitor in list(self._visitors):
            if self._is_worker(visitor):
                self._visitors.remove(visitor)
                return visitor
            if visitor.closed:
                self._visitors.remove(visitor)
                visitor.close()
        return None

    def _is_worker(self, visitor: Channel) -> bool:
        try:
            hello = next(visitor.receive(), None)
            if hello is None:
                return False
            token = hello.get("token", str)
            if hello.kind != "hello" or not hmac.compare_digest(
                token.encode(errors="replace"), self.token.encode()
            ):
                raise ProtocolError("wrong token")
        except ProtocolError:
            visitor.closed = True
            return False
        if hello.header.get("protocol") != PROTOCOL_VERSION:
            raise VersionError(
                f"the surgsam2 there ({hello.header.get('surgsam2')!s:.40}) and this one do not "
                f"understand each other; install the same version in both environments"
            )
        return True

    def close(self) -> None:
        for visitor in self._visitors:
            visitor.close()
        self._socket.close()
