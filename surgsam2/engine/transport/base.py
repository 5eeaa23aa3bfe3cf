"""What carries messages between the application and an engine, wherever the engine runs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from surgsam2.engine.protocol.events import FailureKind
from surgsam2.engine.protocol.messages import Message


class EngineError(Exception):
    """The engine cannot be used.

    Args:
        kind: the kind of failure, for programs.
        message: the reason, for the user.
    """

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Transport(ABC):
    """A connection to one engine from its start to its end; only `wait` waits."""

    is_remote = False
    """Whether the engine is on another machine, which does not have the application's files."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Send a message now or later.

        Raises:
            ProtocolError: it is too large, or not plain data.
            OutputError: there is no room for its arrays.
        """

    @abstractmethod
    def wait(self, timeout: float) -> None:
        """Wait until there is something to read, at most `timeout` seconds."""

    @abstractmethod
    def next_message(self) -> Message | None:
        """Return the next message that has arrived, or None.

        Raises:
            EngineError: the engine cannot be understood or reached.
        """

    @abstractmethod
    def exit_code(self) -> int | None:
        """Return the exit code once the engine has ended and all its messages were read.

        Raises:
            EngineError: the engine does not connect, or it ended for a reason that it gave.
        """

    @abstractmethod
    def stderr_tail(self) -> str:
        """Return the last lines that the engine wrote before it ended, for a report."""

    @abstractmethod
    def close(self) -> None:
        """End the engine at once, whatever it is doing."""
