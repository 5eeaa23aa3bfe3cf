"""An engine on another machine, as the client uses it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping

from surgsam2.engine.protocol.events import ConnectionChanged, FailureKind
from surgsam2.engine.protocol.framing import ProtocolError
from surgsam2.engine.protocol.messages import Hello, Message
from surgsam2.engine.protocol.payloads import InlinePayloads
from surgsam2.engine.protocol.requests import FROM_ENGINE
from surgsam2.engine.remote.address import Address
from surgsam2.engine.remote.channel import ServerChannel
from surgsam2.engine.transport.base import EngineError, Transport
from surgsam2.engine.transport.connection import (
    Channel,
    Connection,
    SocketChannel,
    VersionError,
    check_version,
)

_CHUNK = 2**18
_START_SECONDS = 120.0


class RemoteEngine(Transport):
    """A connection to an engine process on another machine.

    Args:
        channel: carries the bytes.
        name: name of the engine for messages.
    """

    is_remote = True

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel = channel
        self._name = name
        self._connection = Connection(channel, InlinePayloads())
        self._greeted = False
        self._unsent: list[Message] = []
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
            raise EngineError(kind, f"{self._name}: {error}") from error
        if isinstance(self._channel, ServerChannel):
            self._received.extendleft(reversed(self._take_news(self._channel)))
            if not self._received:
                self._channel.check()
        return self._received.popleft() if self._received else None

    @staticmethod
    def _take_news(channel: ServerChannel) -> list[ConnectionChanged]:
        news, channel.news = channel.news, []
        return news

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
        if self._received:
            return None
        if isinstance(self._channel, ServerChannel):
            return self._channel.exit_code
        return None if not self._connection.closed else -1

    def stderr_tail(self) -> str:
        """Return nothing: what a server's processes write stays there."""
        return ""

    def close(self) -> None:
        """End the session."""
        self._connection.close()


class SshEngine(RemoteEngine):
    """An engine process that ssh starts on another machine; it ends with the connection.

    Args:
        address: the machine.
        python: the command there that has surgsam2.
        environment: environment variables of ssh; None takes this process's own.

    Raises:
        EngineError: ssh cannot be started.
    """

    def __init__(
        self,
        address: Address,
        python: str = "python3",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        target = f"{address.user}@{address.host}" if address.user else address.host
        port = ["-p", str(address.port)] if address.port else []
        command = [
            "ssh", "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5",
            "-o", "ServerAliveCountMax=4", *port, "--", target,
            f"{python} -m surgsam2.engine --standard-streams",
        ]  # fmt: skip
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=None if environment is None else dict(environment),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise EngineError("start", f"ssh cannot be started ({error}); install it") from error
        self._tail: deque[bytes] = deque(maxlen=40)
        here, there = socket.socketpair()
        for run in (self._to_process, self._from_process, self._errors):
            threading.Thread(target=run, args=(there,), name="surgsam2-ssh", daemon=True).start()
        super().__init__(SocketChannel(here), str(address))

    def _to_process(self, there: socket.socket) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while data := there.recv(_CHUNK):
                self._process.stdin.write(data)
                self._process.stdin.flush()
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()

    def _from_process(self, there: socket.socket) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while data := self._process.stdout.read1(_CHUNK):  # type: ignore[attr-defined]
                there.sendall(data)
        self._process.wait()
        with contextlib.suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)
        there.close()

    def _errors(self, there: socket.socket) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._tail.append(line)

    def exit_code(self) -> int | None:
        """Return the exit code of ssh, or of the engine process.

        Raises:
            EngineError: there was no engine to connect to.
        """
        if self._received or not self._connection.closed:
            return None
        code = self._process.poll()
        if code is not None and not self._greeted:
            reason = " ".join(self.stderr_tail().split())[-300:]
            text = f"{self._name}: no engine could be started there ({reason or 'no reason given'})"
            raise EngineError("start", text)
        return code

    def stderr_tail(self) -> str:
        """Return the last lines that ssh or the engine process wrote."""
        return b"".join(self._tail).decode(errors="replace").strip()

    def close(self) -> None:
        """End the session and ssh."""
        super().close()
        self._process.kill()
        self._process.wait()
