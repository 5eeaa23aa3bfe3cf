"""Waits for the engine process that this application has started to connect."""

from __future__ import annotations

import hmac
import secrets
import socket

from surgsam2.engine.protocol.framing import ProtocolError
from surgsam2.engine.protocol.messages import Hello
from surgsam2.engine.protocol.payloads import Payloads
from surgsam2.engine.protocol.requests import FROM_ENGINE
from surgsam2.engine.transport.connection import Connection, SocketChannel, check_version

_MAX_UNKNOWN = 8
"""Connections that may wait at once without having shown the token."""


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
