"""Delivers bytes exactly once and in order over connections that may break in between.

Each piece has a number, from 1. A side keeps what it sent until the other side acknowledges
it. After a break both sides say which number they received last, and send the rest again.

Nothing here does input or output.
"""

from __future__ import annotations

from collections import deque

from surgsam2.engine.protocol.framing import Packet, ProtocolError, encode_packet

DATA = "data"
"""Kind of a packet that carries one piece."""
ACKNOWLEDGED = "acknowledged"
"""Kind of a packet that says which piece was received last."""
MAX_UNACKNOWLEDGED = 2**30
"""Bytes that may wait for an acknowledgement."""


class ReliableStream:
    """One side of a session that may use several connections, one after another."""

    def __init__(self) -> None:
        self.received = 0
        """Number of the last piece that was received."""
        self._sent = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0

    @property
    def unacknowledged(self) -> int:
        """Bytes that wait for an acknowledgement."""
        return self._kept_bytes

    def send(self, piece: bytes) -> bytes:
        """Keep a piece, and return the bytes to send if there is a connection.

        Raises:
            ProtocolError: too much waits for an acknowledgement.
        """
        if self._kept_bytes + len(piece) > MAX_UNACKNOWLEDGED:
            raise ProtocolError(f"{self._kept_bytes} bytes wait for a connection; no more are kept")
        self._sent += 1
        self._kept.append((self._sent, piece))
        self._kept_bytes += len(piece)
        return _packed(self._sent, piece)

    def acknowledgement(self) -> bytes:
        """Return the bytes that acknowledge what was received."""
        return encode_packet(ACKNOWLEDGED, {"received": self.received})

    def resume(self, received: int) -> bytes:
        """Return the bytes to send on a new connection.

        Args:
            received: number of the last piece that the other side received.

        Raises:
            ProtocolError: the other side cannot have received that, or it has acknowledged more
                before.
        """
        self._acknowledge(received)
        if received < self._sent - len(self._kept):
            raise ProtocolError(f"the pieces after {received} are no longer kept")
        return b"".join(_packed(number, piece) for number, piece in self._kept)

    def receive(self, packet: Packet) -> bytes | None:
        """Take a packet; return its piece, or None when there is no new one.

        Raises:
            ProtocolError: the packet is not allowed, or a piece is missing.
        """
        if packet.kind == ACKNOWLEDGED:
            self._acknowledge(packet.header.get("received"))
            return None
        number = packet.header.get("number")
        if packet.kind != DATA or type(number) is not int or len(packet.blobs) != 1:
            raise ProtocolError(f"unexpected packet {packet.kind!r:.80}")
        if number <= self.received:  # sent again before it was acknowledged
            return None
        if number != self.received + 1:
            raise ProtocolError(f"piece {self.received + 1} is missing; got {number}")
        self.received = number
        return bytes(packet.blobs[0])

    def _acknowledge(self, received: object) -> None:
        """Forget what has been received; an acknowledgement that arrives late changes nothing.

        One may wait in a lost connection while the next one acknowledges more.
        """
        if type(received) is not int or not 0 <= received <= self._sent:
            raise ProtocolError(f"pieces up to {received!r:.40} cannot have been received")
        while self._kept and self._kept[0][0] <= received:
            self._kept_bytes -= len(self._kept.popleft()[1])


def _packed(number: int, piece: bytes) -> bytes:
    return encode_packet(DATA, {"number": number}, [piece])
