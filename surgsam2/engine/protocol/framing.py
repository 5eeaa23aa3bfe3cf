"""Packets: the unit in which the application and the engine process exchange bytes.

A packet is 4 bytes (the length of the header, big endian), the header (a JSON object in
UTF-8) and raw bytes. Every header has ``type``; ``blobs``, where present, lists the lengths
of the pieces that the raw bytes consist of. Nothing is ever unpickled.

This module uses the standard library only: the application and the first lines of the
engine process import it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from surgsam2.errors import SurgSAM2Error
from surgsam2.storage.json_text import parse_json

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Raw bytes."""
PROTOCOL_VERSION = 4
"""Version of the protocol; it grows with every change that an older side cannot read."""
EXPLAINED = 3
"""Exit code of an engine process that has reported why it cannot run (also in `bootstrap`)."""
MAX_HEADER = 2**20
"""Largest header in bytes."""
MAX_RAW = 2**30
"""Largest number of raw bytes in one packet."""
MAX_GREETING = 4096
"""Largest header in bytes, without raw bytes, that is read before the token is checked."""
_LENGTH = struct.Struct(">I")


class ProtocolError(SurgSAM2Error, ValueError):
    """Bytes or a message that the protocol does not allow."""


class Packet(NamedTuple):
    """One packet as it was received; the values in the header are not checked yet."""

    kind: str
    """The header's ``type``."""
    header: dict[str, Any]
    blobs: tuple[Buffer, ...] = ()
    """The pieces of raw bytes."""


def encode_packet(kind: str, header: dict[str, Any], blobs: Sequence[Buffer] = ()) -> bytes:
    """Return the bytes of a packet.

    Raises:
        ProtocolError: the packet is too large, or the header is not plain data.
    """
    lengths = {"blobs": [len(blob) for blob in blobs]} if blobs else {}
    try:
        text = json.dumps({**header, **lengths, "type": kind}, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"message {kind!r} is not plain data: {error}") from error
    raw = sum(map(len, blobs))
    if len(text) > MAX_HEADER or raw > MAX_RAW:
        raise ProtocolError(f"message {kind!r} is too large: {len(text)} + {raw} bytes")
    return b"".join([_LENGTH.pack(len(text)), text, *blobs])


class PacketDecoder:
    """Assembles packets from bytes as they arrive.

    A new decoder accepts small packets without raw bytes only, so that a stranger cannot
    make this process hold much memory. Call `accept_large` once the other side is known.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None
        self._lengths: list[int] = []
        self._max_header, self._max_raw = MAX_GREETING, 0

    def accept_large(self, max_raw: int = MAX_RAW) -> None:
        """Accept headers up to `MAX_HEADER` and `max_raw` raw bytes from now on."""
        self._max_header, self._max_raw = MAX_HEADER, max_raw

    def feed(self, data: bytes) -> None:
        """Append bytes that have arrived."""
        self._buffer += data

    def packets(self) -> Iterator[Packet]:
        """Yield the complete packets.

        Raises:
            ProtocolError: the bytes are not packets; nothing after them can be read.
        """
        while (packet := self._next()) is not None:
            yield packet

    def _next(self) -> Packet | None:
        if self._header is None and not self._take_header():
            return None
        assert self._header is not None
        if len(self._buffer) < sum(self._lengths):
            return None
        blobs, start = [], 0
        for length in self._lengths:
            blobs.append(self._buffer[start : start + length])
            start += length
        del self._buffer[:start]
        header, self._header = self._header, None
        return Packet(header["type"], header, tuple(blobs))

    def _take_header(self) -> bool:
        if len(self._buffer) < _LENGTH.size:
            return False
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._max_header:
            raise ProtocolError(
                f"a header of {length} bytes is announced; at most {self._max_header}"
            )
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return False
        try:
            header = parse_json(bytes(self._buffer[_LENGTH.size : end]))
        except ValueError as error:
            raise ProtocolError(f"a header is not JSON: {error}") from error
        if not isinstance(header, dict) or not isinstance(header.get("type"), str):
            raise ProtocolError("a header must be a JSON object with a type")
        lengths = header.get("blobs", [])
        if not isinstance(lengths, list) or not all(type(n) is int and n >= 0 for n in lengths):
            raise ProtocolError("a header's blobs must be a list of lengths")
        if sum(lengths) > self._max_raw:
            raise ProtocolError(f"{sum(lengths)} raw bytes are announced; at most {self._max_raw}")
        del self._buffer[:end]
        self._header, self._lengths = header, lengths
        return True
