"""The engine process on this machine, together with the connection to it."""

from __future__ import annotations

import contextlib
import selectors
import time
from collections import deque
from collections.abc import Mapping

from surgsam2.engine.client.launch import Process, base_environment
from surgsam2.engine.client.listener import Listener
from surgsam2.engine.protocol.events import ConnectionChanged
from surgsam2.engine.protocol.framing import EXPLAINED, ProtocolError, encode_packet
from surgsam2.engine.protocol.messages import Message, pack_message
from surgsam2.engine.protocol.payloads import SharedMemoryPayloads
from surgsam2.engine.protocol.requests import Alive
from surgsam2.engine.transport.base import EngineError, Transport
from surgsam2.engine.transport.connection import Connection, VersionError
from surgsam2.storage.temporary import TemporaryFolder

_START_SECONDS = 120.0
"""How long a process may take until it connects; loading torch comes after that."""
_SILENT_SECONDS = 6.0
"""Seconds that a connected process may send nothing; it sends `Alive` every second."""
_END_SECONDS = 2.0
"""How long a process that has closed the connection may take to end."""


class EngineProcess(Transport):
    """One engine process from its start to its end.

    Args:
        python: interpreter to start.
        environment: its environment variables, cleaned here; None takes this process's own.

    Raises:
        EngineError: the process cannot be started.
    """

    def __init__(self, python: str, environment: Mapping[str, str] | None) -> None:
        self._connection: Connection | None = None
        self._unsent: list[Message] = []
        self._received: deque[Message] = deque()
        self._deadline = time.monotonic() + _START_SECONDS
        self._life = _Life()
        with contextlib.ExitStack() as opened:
            try:
                folder = opened.enter_context(TemporaryFolder())
                self.folder = str(folder)
                """Folder of the shared files; `close` removes it."""
                payloads = SharedMemoryPayloads(folder, "application")
                self._listener = Listener(payloads)
                opened.callback(self._listener.close)
                settings: dict[str, object] = {
                    "port": self._listener.port,
                    "token": self._listener.token,
                    "folder": self.folder,
                }
                self._process = Process(python, base_environment(environment), folder, settings)
            except (OSError, ValueError) as error:
                text = f"{python}: the engine cannot be started: {error}"
                raise EngineError("start", text) from error
            self._opened = opened.pop_all()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def send(self, message: Message) -> None:
        """Send a message now or later; see `Transport.send`."""
        if self._connection is None:
            encode_packet(*pack_message(message))  # raises now what it would raise later
            self._unsent.append(message)
        else:
            self._connection.send(message)

    def wait(self, timeout: float) -> None:
        """Wait until there is something to read; see `Transport.wait`."""
        if self._received or timeout <= 0:
            return
        with selectors.DefaultSelector() as selector:
            if self._connection is None:
                for waiting in self._listener.sockets:
                    selector.register(waiting, selectors.EVENT_READ)
            elif not self._connection.closed:
                for waiting, events in self._connection.channel.sockets:
                    selector.register(waiting, events)
            else:
                time.sleep(min(timeout, 0.01))
                return
            selector.select(timeout)

    def next_message(self) -> Message | None:
        """Return the next message that has arrived; see `Transport.next_message`."""
        try:
            if self._connection is None:
                self._accept()
            if self._connection is not None and not self._received and not self._connection.closed:
                self._received.extend(self._life.seen_in(list(self._connection.receive())))
        except VersionError as error:
            raise EngineError("version", str(error)) from error
        except ProtocolError as error:
            raise EngineError("protocol", f"the engine cannot be understood: {error}") from error
        return self._received.popleft() if self._received else None

    def _accept(self) -> None:
        self._connection = self._listener.accept()
        if self._connection is None:
            return
        self._listener.close()
        for message in self._unsent:
            self._connection.send(message)
        self._unsent.clear()

    def exit_code(self) -> int | None:
        """Return the exit code once the process has ended; see `Transport.exit_code`."""
        code = self._process.exit_code()
        now = time.monotonic()
        if code is None:
            if self._connection is not None and self._connection.closed:
                self._deadline = min(self._deadline, now + _END_SECONDS)
            elif self._connection is not None:
                self._deadline = float("inf")
            if now > self._deadline:
                if self._connection is None:
                    raise EngineError(
                        "start", f"the engine did not answer for {_START_SECONDS:.0f} seconds"
                    )
                self._process.kill()
            return None
        if self._received or (self._connection is not None and not self._connection.closed):
            return None
        problem = self._process.problem() if code == EXPLAINED else None
        if problem is not None:
            raise EngineError(*problem)
        return code

    def stderr_tail(self) -> str:
        """Return the last lines that the process wrote."""
        return self._process.stderr_tail()

    def hang_up(self) -> None:
        """Close the connection alone; the process then ends by itself."""
        if self._connection is not None:
            self._connection.close()

    def close(self) -> None:
        """End the process at once, whatever it is doing, and remove its files."""
        self.hang_up()
        self._process.kill()
        self._opened.close()


class _Life:
    """Notices when a connected engine process says nothing any more, and when it does again."""

    def __init__(self) -> None:
        self._looked = self._heard = time.monotonic()
        self._silent = False

    def seen_in(self, messages: list[Message]) -> list[Message]:
        """Return the messages that have just been read, without `Alive`, and with news of silence.

        An application that did not look for a while learns nothing from what it did not hear.
        """
        now = time.monotonic()
        if messages or now - self._looked > _SILENT_SECONDS / 2:
            self._heard = now
        self._looked = now
        news: list[Message] = []
        if messages and self._silent:
            news.append(ConnectionChanged("connected", "The engine process answers again."))
            self._silent = False
        elif now - self._heard > _SILENT_SECONDS and not self._silent:
            text = (
                f"The engine process has said nothing for {_SILENT_SECONDS:.0f} seconds: it was "
                "stopped, or this machine has too little memory. Wait, or start it again."
            )
            news.append(ConnectionChanged("silent", text))
            self._silent = True
        return news + [message for message in messages if not isinstance(message, Alive)]
