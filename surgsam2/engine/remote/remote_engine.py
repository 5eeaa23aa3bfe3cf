"""An engine on another machine, as the client uses it."""

from __future__ import annotations

import selectors
import time
from collections import deque

from surgsam2.engine.protocol.events import FailureKind
from surgsam2.engine.protocol.framing import ProtocolError
from surgsam2.engine.protocol.messages import Hello, Message
from surgsam2.engine.protocol.payloads import InlinePayloads
from surgsam2.engine.protocol.requests import FROM_ENGINE
from surgsam2.engine.remote.channel import ServerChannel
from surgsam2.engine.transport.base import EngineError, Transport
from surgsam2.engine.transport.connection import (
    Connection,
    VersionError,
    check_version,
)


class RemoteEngine(Transport):
    """A connection to an engine process on another machine.

    Args:
        channel: carries the bytes.
    """

    is_remote = True

    def __init__(self, channel: ServerChannel) -> None:
        self._channel = channel
        self._connection = Connection(channel, InlinePayloads())
        self._greeted = False
        self._received: deque[Message] = deque()

    def send(self, message: Message) -> None:
        """Send a message now or later; see `Transport.send`."""
        self._connection.send(message)

    def wait(self, timeout: float) -> None:
        """Wait until there is something to read; see `Transport.wait`."""
        if self._received or timeout <= 0:
            return
        sockets = self._channel.sockets
        if not sockets:
            time.sleep(min(timeout, 0.01))
            return
        with selectors.DefaultSelector() as selector:
            for waiting, events in sockets:
                selector.register(waiting, events)
            selector.select(timeout)

    def next_message(self) -> Message | None:
        """Return the next message that has arrived; see `Transport.next_message`."""
        try:
            if not self._received and not self._connection.closed:
                self._receive()
        except ProtocolError as error:
            kind: FailureKind = "version" if isinstance(error, VersionError) else "protocol"
            raise EngineError(kind, f"{self._channel.name}: {error}") from error
        news, self._channel.news = self._channel.news, []
        self._received.extendleft(reversed(news))
        if not self._received:
            self._channel.check()
        return self._received.popleft() if self._received else None

    def _receive(self) -> None:
        if self._greeted:
            self._received.extend(self._connection.receive())
            return
        hello = next(self._connection.receive(), None)
        if isinstance(hello, Hello):
            check_version(hello)
            self._connection.accept(FROM_ENGINE)
            self._greeted = True
            self._received.extend(self._connection.receive())

    def exit_code(self) -> int | None:
        """Return the exit code of the engine process; see `Transport.exit_code`."""
        return None if self._received else self._channel.exit_code

    def stderr_tail(self) -> str:
        """Return nothing: what a server's processes write stays there."""
        return ""

    def close(self) -> None:
        """End the session."""
        self._connection.close()
