"""The packets by which an application and a server begin, resume and end a session."""

from __future__ import annotations

from dataclasses import dataclass

from surgsam2.engine.protocol.events import FailureKind
from surgsam2.engine.protocol.framing import Packet, encode_packet
from surgsam2.engine.protocol.messages import Message, pack_message, unpack_message, wire_name

PIECE_BYTES = 2**20
"""Largest piece of data that the two sides exchange."""
PING_SECONDS = 5.0
"""Seconds after which an application that sends nothing else sends `Ping`."""
SILENCE_SECONDS = 20.0
"""Seconds without a packet after which a connection counts as lost."""
SESSION_ENDED = "the session has ended on the server; open the video and track again"
"""What a client is told that wants to resume a session that is not there."""


@dataclass(frozen=True)
class Attach(Message):
    """The application begins a session, or resumes one on a new connection."""

    token: str
    """Secret that allows the use of the server."""
    protocol: int
    """The application's `PROTOCOL_VERSION`."""
    surgsam2: str
    """The application's version of surgsam2."""
    session: str | None
    """Id of the session to resume; None begins one."""
    received: int
    """Number of the last piece that the application received in this session."""


@dataclass(frozen=True)
class Queued(Message):
    """All sessions are taken; the application waits for its turn."""

    position: int
    """Place in the queue, from 1."""


@dataclass(frozen=True)
class Accepted(Message):
    """The session runs."""

    session: str
    """Id of the session, a secret."""
    received: int
    """Number of the last piece that the server received in this session."""


@dataclass(frozen=True)
class Refused(Message):
    """There is no session."""

    kind: FailureKind
    message: str
    """One line in plain words: what is wrong and what to do."""


@dataclass(frozen=True)
class Ping(Message):
    """Shows that the application is still there; the server acknowledges its pieces."""


@dataclass(frozen=True)
class Leave(Message):
    """The application ends the session."""


@dataclass(frozen=True)
class Ended(Message):
    """The engine process of the session has ended by itself."""

    exit_code: int
    """Its exit code; a negative one is the number of a signal."""


def to_bytes(message: Message) -> bytes:
    """Return the bytes of one of these packets."""
    return encode_packet(*pack_message(message))


def read_packet(packet: Packet, *kinds: type[Message]) -> Message | None:
    """Return the message of a packet if it is one of some kinds, else None.

    Raises:
        MessageError: the packet is incomplete.
    """
    for kind in kinds:
        if packet.kind == wire_name(kind):
            return unpack_message(packet, kind)
    return None
