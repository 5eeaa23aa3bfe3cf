"""Messages between the application and the engine's process.

A message is 4 bytes (length of the header, big endian), the header (a JSON object in
UTF-8) and raw bytes. Every header has ``type``; ``blobs``, where present, is the list of
the lengths of the pieces that the raw bytes consist of. Nothing is ever unpickled.

Standard library only: the application and the process's first lines import it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from surgsam2.errors import SurgSAM2Error

PROTOCOL_VERSION = 1
"""Grows with every change that the other side would not understand."""
EXPLAINED = 3
"""Exit code of a process that has said why it cannot go on. (`bootstrap` has it too.)"""
MAX_HEADER = 2**20
"""Largest header in bytes."""
MAX_RAW = 2**30
"""Most raw bytes one message may have."""
_LENGTH = struct.Struct(">I")

T = TypeVar("T")


class ProtocolError(SurgSAM2Error, ValueError):
    """A message that cannot be understood."""


@dataclass(frozen=True)
class Message:
    """One message as received. Field access checks types: the other side is not trusted."""

    kind: str
    header: dict[str, Any] = field(default_factory=dict)
    blobs: tuple[bytes, ...] = ()

    def get(self, name: str, of: type[T]) -> T:
        """A field of exactly this type (a whole number is a float too).

        Raises:
            ProtocolError: it is missing or of another type.
        """
        value = self.header.get(name)
        if of is float and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value) is not of:
            raise ProtocolError(
                f"message {self.kind!r}: {name} must be {of.__name__}, got {value!r:.80}"
            )
        return value

    def optional(self, name: str, of: type[T]) -> T | None:
        """As `get`, but None when the field is missing or null."""
        return None if self.header.get(name) is None else self.get(name, of)

    def blob(self, index: int) -> bytes:
        if index >= len(self.blobs):
            raise ProtocolError(f"message {self.kind!r}: raw bytes are missing")
        return self.blobs[index]


def encode(type_: str, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """The bytes of a message.

    Raises:
        ProtocolError: it is too large to be sent, or not plain data.
    """
    lengths = {"blobs": [len(blob) for blob in blobs]} if blobs else {}
    try:
        text = json.dumps({**header, **lengths, "type": type_}, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"message {type_!r} is not plain data: {error}") from error
    raw = sum(map(len, blobs))
    if len(text) > MAX_HEADER or raw > MAX_RAW:
        raise ProtocolError(f"message {type_!r} is too large: {len(text)} + {raw} bytes")
    return b"".join([_LENGTH.pack(len(text)), text, *blobs])


class Decoder:
    """Puts messages together from bytes as they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None
        self._lengths: list[int] = []

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def messages(self) -> Iterator[Message]:
        """The complete messages.

        Raises:
            ProtocolError: these bytes are not messages; nothing after them can be read.
        """
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        if self._header is None and not self._take_header():
            return None
        assert self._header is not None
        if len(self._buffer) < sum(self._lengths):
            return None
        blobs, start = [], 0
        view = memoryview(self._buffer)
        for length in self._lengths:
            blobs.append(bytes(view[start : start + length]))
            start += length
        view.release()
        del self._buffer[:start]
        header, self._header = self._header, None
        return Message(header["type"], header, tuple(blobs))

    def _take_header(self) -> bool:
        if len(self._buffer) < _LENGTH.size:
            return False
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_HEADER:
            raise ProtocolError(f"a header of {length} bytes is announced; at most {MAX_HEADER}")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return False
        try:
            header = json.loads(bytes(self._buffer[_LENGTH.size : end]))
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"a header is not JSON: {error}") from error
        if not isinstance(header, dict) or not isinstance(header.get("type"), str):
            raise ProtocolError("a header must be a JSON object with a type")
        lengths = header.get("blobs", [])
        if not isinstance(lengths, list) or not all(type(n) is int and n >= 0 for n in lengths):
            raise ProtocolError("a header's blobs must be a list of lengths")
        if sum(lengths) > MAX_RAW:
            raise ProtocolError(f"{sum(lengths)} raw bytes are announced; at most {MAX_RAW}")
        del self._buffer[:end]
        self._header, self._lengths = header, lengths
        return True
