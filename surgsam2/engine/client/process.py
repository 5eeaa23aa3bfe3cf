"""The engine's process together with the connection to it, as the application holds them."""

from __future__ import annotations

import contextlib
import selectors
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surgsam2.engine.client.connection import Channel, Door, VersionError
from surgsam2.engine.client.launch import Process, base_environment
from surgsam2.engine.protocol.events import FailureKind
from surgsam2.engine.protocol.messages import EXPLAINED, Message, ProtocolError, encode

_START_SECONDS = 120.0
"""How long a process may take until it calls; loading torch comes after that."""
_END_SECONDS = 2.0
"""How long a process that hung up may take to end."""


class ChildError(Exception):
    """The process cannot be used, for this reason."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Child:
    """One process from its start to its end. Nothing here waits for it but `wait`.

    Args:
        python: interpreter to start.
        environment: its environment variables, cleaned here; None takes this process's own.

    Raises:
        ChildError: it cannot be started.
    """

    def __init__(self, python: str, environment: Mapping[str, str] | None) -> None:
        self._channel: Channel | None = None
        self._unsent: list[tuple[str, dict[str, Any], Sequence[bytes]]] = []
        self._inbox: deque[Message] = deque()
        self._deadline = time.monotonic() + _START_SECONDS
        with contextlib.ExitStack() as opened:
            try:
                # on Windows a file that is still mapped stays
                self.folder = opened.enter_context(
                    tempfile.TemporaryDirectory(
                        prefix="surgsam2-worker-", ignore_cleanup_errors=True
                    )
                )
                """Of the shared files; removed by `close`."""
                self._door = Door()
                opened.callback(self._door.close)
                settings = {
                    "port": self._door.port,
                    "token": self._door.token,
                    "folder": self.folder,
                }
                self._process = Process(
                    python, base_environment(environment), Path(self.folder), settings
                )
            except (OSError, ValueError) as error:
                text = f"{python}: the engine cannot be started: {error}"
                raise ChildError("start", text) from error
            self._opened = opened.pop_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, type_: str, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Send now or later; `ProtocolError` when it cannot be a message."""
        if self._channel is None:
            encode(type_, header, blobs)
            self._unsent.append((type_, header, blobs))
        else:
            self._channel.send(type_, header, blobs)

    def wait(self, timeout: float) -> None:
        """Wait until there is something to read, at most `timeout` seconds."""
        if self._inbox or timeout <= 0:
            return
        with selectors.DefaultSelector() as selector:
            if self._channel is None:
                for waiting in self._door.sockets:
                    selector.register(waiting, selectors.EVENT_READ)
            elif not self._channel.closed:
                unsent = selectors.EVENT_WRITE if self._channel.has_unsent else 0
                selector.register(self._channel.socket, selectors.EVENT_READ | unsent)
            else:
                time.sleep(min(timeout, 0.01))
                return
            selector.select(timeout)

    def next_message(self) -> Message | None:
        """The next message that is here.

        Raises:
            ChildError: the process speaks another language.
        """
        try:
            if self._channel is None:
                self._accept()
            if self._channel is not None and not self._inbox and not self._channel.closed:
                self._channel.flush()
                self._inbox.extend(self._channel.receive())
        except VersionError as error:
            raise ChildError("version", str(error)) from error
        except ProtocolError as error:
            raise ChildError("protocol", f"the engine cannot be understood: {error}") from error
        return self._inbox.popleft() if self._inbox else None

    def _accept(self) -> None:
        self._channel = self._door.welcome()
        if self._channel is None:
            return
        self._door.close()
        for message in self._unsent:
            self._channel.send(*message)
        self._unsent.clear()

    def exit_code(self) -> int | None:
        """Its exit code once it has ended and everything it sent was read; None before.

        Raises:
            ChildError: it does not call, or it ended for a reason that it knows.
        """
        code = self._process.exit_code()
        now = time.monotonic()
        if code is None:
            if self._channel is not None and self._channel.closed:
                self._deadline = min(self._deadline, now + _END_SECONDS)
            elif self._channel is not None:
                self._deadline = float("inf")
            if now > self._deadline:
                if self._channel is None:
                    raise ChildError(
                        "start", f"the engine did not answer for {_START_SECONDS:.0f} seconds"
                    )
                self._process.kill()
            return None
        if self._inbox or (self._channel is not None and not self._channel.closed):
            return None
        problem = self._process.problem() if code == EXPLAINED else None
        if problem is not None:
            raise ChildError(*problem)
        return code

    def stderr_tail(self) -> str:
        return self._process.stderr_tail()

    def close(self) -> None:
        """End it at once, whatever it is doing, and remove its files."""
        if self._channel is not None:
            self._channel.close()
        self._process.kill()
        self._opened.close()
