"""The application's end of the connection: sockets that never block."""

from __future__ import annotations

import copy
import hmac
import secrets
import selectors
import socket
import ssl
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator

from surgsam2.engine.protocol.framing import PROTOCOL_VERSION, ProtocolError
from surgsam2.engine.protocol.messages import Hello, Message, MessageStream, Released
from surgsam2.engine.protocol.payloads import Payloads
from surgsam2.engine.protocol.requests import FROM_ENGINE

_CHUNK = 2**18
_MAX_UNKNOWN = 8
"""Connections that may wait at once without having shown the token."""


class VersionError(ProtocolError):
    """The surgsam2 on the other side uses another version of the protocol."""


class Channel(ABC):
    """Carries bytes to the other side and back; no method waits."""

    closed = False
    """Whether the other side has gone."""

    @property
    @abstractmethod
    def sockets(self) -> list[tuple[socket.socket, int]]:
        """The sockets on which something can happen, each with events of `selectors`."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send bytes now or later."""

    @abstractmethod
    def flush(self) -> None:
        """Send what can be sent now."""

    @abstractmethod
    def read(self) -> bytes:
        """Return bytes that have arrived, or none."""

    @abstractmethod
    def close(self) -> None:
        """Release everything."""


class SocketChannel(Channel):
    """A connected socket, with or without TLS.

    Args:
        connected: the socket; it is made non-blocking.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._unsent = bytearray()

    @property
    def sockets(self) -> list[tuple[socket.socket, int]]:
        """See `Channel.sockets`."""
        if self.closed:
            return []
        unsent = selectors.EVENT_WRITE if self._unsent else 0
        return [(self._socket, selectors.EVENT_READ | unsent)]

    def write(self, data: bytes) -> None:
        """Send bytes now or later."""
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now."""
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent[:_CHUNK])]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:  # the other side has gone; what it sent before is still to be read
            self._unsent.clear()

    def read(self) -> bytes:
        """Return what has arrived."""
        try:
            data = self._socket.recv(_CHUNK)
            # bytes that TLS has decrypted already do not wake a selector
            while isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                data += self._socket.recv(self._socket.pending())
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError:
            self.closed = True
            return b""
        self.closed |= not data
        return data

    def close(self) -> None:
        """Close the socket."""
        self.closed = True
        self._socket.close()


class Connection:
    """Exchanges messages through a channel; no method waits.

    It accepts nothing but `Hello` until `accept` is called.

    Args:
        channel: carries the bytes.
        payloads: how large arrays travel.
    """

    def __init__(self, channel: Channel, payloads: Payloads) -> None:
        self.channel = channel
        self._waiting: deque[Message] = deque()  # large messages without a slot
        self._stream = MessageStream(payloads, self._on_read)

    @property
    def closed(self) -> bool:
        """Whether the other side has gone."""
        return self.channel.closed

    def accept(self, incoming: Iterable[type[Message]]) -> None:
        """Accept messages of these classes from now on: the other side is known."""
        self._stream.accept(incoming)

    def send(self, message: Message) -> None:
        """Send a message now or later.

        Raises:
            ProtocolError: it is too large, or not plain data.
            OutputError: there is no room for its payload.
        """
        data = None
        if not (message.large and self._waiting):  # those that wait go first
            data = self._stream.encode(message, self._stream.window.try_acquire)
        if data is None:
            self._waiting.append(copy.deepcopy(message))  # the caller may reuse its arrays
        else:
            self.channel.write(data)

    def receive(self) -> Iterator[Message]:
        """Send what can be sent, and yield the messages that have arrived.

        Raises:
            ProtocolError: the other side sends something else.
        """
        self.channel.flush()
        self._stream.feed(self.channel.read())
        yield from self._stream.messages()
        self._send_waiting()

    def close(self) -> None:
        """Release the channel."""
        self.channel.close()

    def _send_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            self.send(waiting.popleft())

    def _on_read(self, slot: int) -> None:
        self.send(Released(slot))


class Listener:
    """Waits at a local port for the process that knows the token; closes other connections.

    Args:
        payloads: how large arrays travel on the connection.

    Raises:
        OSError: there is no port to wait at.
    """

    def __init__(self, payloads: Payloads) -> None:
        self.token = secrets.token_hex(32)
        self._payloads = payloads
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(_MAX_UNKNOWN)
        self._socket.setblocking(False)
        self._unknown: list[Connection] = []

    @property
    def port(self) -> int:
        """The port that it waits at."""
        return int(self._socket.getsockname()[1])

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets on which something can arrive."""
        unknown = (pair[0] for each in self._unknown for pair in each.channel.sockets)
        return [self._socket, *unknown]

    def accept(self) -> Connection | None:
        """Return the connection to the engine process once it is there.

        Raises:
            VersionError: the engine process uses another version of the protocol.
        """
        try:
            while True:
                connected, _ = self._socket.accept()
                if len(self._unknown) == _MAX_UNKNOWN:  # the oldest has sent nothing so far
                    self._unknown.pop(0).close()
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._unknown.append(Connection(SocketChannel(connected), self._payloads))
        except OSError:  # nobody else is waiting
            pass
        for connection in list(self._unknown):
            if self._is_engine(connection):
                self._unknown.remove(connection)
                connection.accept(FROM_ENGINE)
                return connection
            if connection.closed:
                self._unknown.remove(connection)
                connection.close()
        return None

    def _is_engine(self, connection: Connection) -> bool:
        try:
            hello = next(connection.receive(), None)
        except ProtocolError:
            connection.close()
            return False
        if not isinstance(hello, Hello):
            return False
        token = hello.token.encode(errors="replace")
        if not hmac.compare_digest(token, self.token.encode()):
            connection.close()
            return False
        check_version(hello)
        return True

    def close(self) -> None:
        """Stop waiting; connections that were not accepted are closed."""
        for connection in self._unknown:
            connection.close()
        self._socket.close()


def check_version(hello: Hello) -> None:
    """Check that the other side uses the same version of the protocol.

    Raises:
        VersionError: it does not.
    """
    if hello.protocol != PROTOCOL_VERSION:
        raise VersionError(
            f"the surgsam2 there ({hello.surgsam2:.40}) and this one do not understand each "
            "other; install the same version in both environments"
        )
