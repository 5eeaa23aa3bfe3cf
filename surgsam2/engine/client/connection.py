"""The application's end of the connection: sockets that never block."""

from __future__ import annotations

import copy
import hmac
import secrets
import socket
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


class Connection:
    """A connected socket that sends what it can, keeps the rest, and never blocks.

    It accepts nothing but `Hello` until `accept` is called.

    Args:
        connected: the socket; it is made non-blocking.
        payloads: how large arrays travel.
    """

    def __init__(self, connected: socket.socket, payloads: Payloads) -> None:
        connected.setblocking(False)
        self.socket = connected
        self.closed = False
        """Whether the other side has gone."""
        self._unsent = bytearray()
        self._waiting: deque[Message] = deque()  # large messages without a slot
        self._stream = MessageStream(payloads, self._on_read)

    def accept(self, incoming: Iterable[type[Message]]) -> None:
        """Accept messages of these classes from now on: the other side is known."""
        self._stream.accept(incoming)

    @property
    def has_unsent(self) -> bool:
        """Whether bytes wait for the socket to take them."""
        return bool(self._unsent)

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
            self._unsent += data
            self.flush()

    def flush(self) -> None:
        """Send what the socket takes now."""
        try:
            while self._unsent:
                del self._unsent[: self.socket.send(self._unsent[:_CHUNK])]
        except BlockingIOError:
            pass
        except OSError:  # the other side has gone; what it sent before is still to be read
            self._unsent.clear()

    def receive(self) -> Iterator[Message]:
        """Yield the messages that have arrived.

        Raises:
            ProtocolError: the other side sends something else.
        """
        try:
            data = self.socket.recv(_CHUNK)
            self.closed |= not data
            self._stream.feed(data)
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        yield from self._stream.messages()
        self._send_waiting()

    def close(self) -> None:
        """Close the socket."""
        self.closed = True
        self.socket.close()

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
        return [self._socket, *(connection.socket for connection in self._unknown)]

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
                self._unknown.append(Connection(connected, self._payloads))
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
            connection.closed = True
            return False
        if not isinstance(hello, Hello):
            return False
        token = hello.token.encode(errors="replace")
        if not hmac.compare_digest(token, self.token.encode()):
            connection.closed = True
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
