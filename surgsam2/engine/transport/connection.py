"""The application's end of the connection: sockets that never block."""

from __future__ import annotations

import contextlib
import copy
import selectors
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator

from surgsam2.engine.protocol.framing import PROTOCOL_VERSION, ProtocolError
from surgsam2.engine.protocol.messages import Hello, Message, MessageStream, Released
from surgsam2.engine.protocol.payloads import Payloads

_CHUNK = 2**18


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

    def part(self, last: bytes, seconds: float) -> None:
        """Send what is left and some last bytes, and close the socket; this waits.

        A socket that is closed while data wait to be read may lose what it sent last.

        Args:
            last: the last bytes.
            seconds: how long that may take.
        """
        self.closed = True
        deadline = time.monotonic() + seconds
        with contextlib.suppress(OSError), self._socket as connected:
            connected.settimeout(seconds)
            connected.sendall(self._unsent + last)
            connected.shutdown(socket.SHUT_WR)
            while connected.recv(_CHUNK) and time.monotonic() < deadline:
                pass


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
