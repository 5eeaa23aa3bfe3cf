"""What all messages have in common, and how a message becomes bytes and is read again.

A message is a frozen dataclass. Its fields and their types are declared once, in `requests`
and `events`; `MessageStream` packs, checks and unpacks them by these declarations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, TypeVar, get_type_hints

from surgsam2.engine.protocol.fields import Blobs, FieldType, field_type
from surgsam2.engine.protocol.framing import (
    Buffer,
    Packet,
    PacketDecoder,
    ProtocolError,
    encode_packet,
)
from surgsam2.engine.protocol.payloads import Payloads, Window
from surgsam2.errors import SurgSAM2Error

_M = TypeVar("_M", bound="Message")


@dataclass(frozen=True)
class Message:
    """Base class of everything that the application and the engine process send each other."""

    large: ClassVar[bool] = False
    """Whether the raw bytes are a payload, of which only few may be on their way at once."""


@dataclass(frozen=True)
class Request(Message):
    """Base class of what the application asks for; each request ends with one event."""

    request: int
    """Number that the events of this request carry."""


@dataclass(frozen=True)
class Released(Message):
    """The receiver has read the payload in a slot; the sender may use the slot again."""

    slot: int


@dataclass(frozen=True)
class Hello(Message):
    """The first message of an engine process, and of a remote application."""

    token: str
    """Secret that shows who is calling."""
    protocol: int
    """The sender's `PROTOCOL_VERSION`."""
    surgsam2: str = ""
    """The sender's version of surgsam2."""


class MessageError(ProtocolError):
    """One message cannot be understood; those after it can.

    Args:
        text: what is wrong.
        request: number of the request that it belongs to, if that is known.
    """

    def __init__(self, text: str, request: int | None = None) -> None:
        super().__init__(text)
        self.request = request


def wire_name(kind: type[Message]) -> str:
    """Return the name of a class of messages on the wire: ``load_model`` for `LoadModel`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


_FIELD_TYPES: dict[type[Message], dict[str, tuple[FieldType, Any]]] = {}


def _field_types(kind: type[Message]) -> dict[str, tuple[FieldType, Any]]:
    """Return what packs each field, and the field's default; they are found once per class."""
    if kind not in _FIELD_TYPES:
        hints = get_type_hints(kind, include_extras=True)
        _FIELD_TYPES[kind] = {
            item.name: (field_type(hints[item.name]), item.default) for item in fields(kind)
        }
    return _FIELD_TYPES[kind]


def pack_message(message: Message) -> Packet:
    """Return a message as a packet whose raw bytes are all of its arrays."""
    blobs: list[Buffer] = []
    header = {
        name: packer.pack(getattr(message, name), blobs)
        for name, (packer, _) in _field_types(type(message)).items()
    }
    return Packet(wire_name(type(message)), header, tuple(blobs))


def unpack_message(packet: Packet, kind: type[_M]) -> _M:
    """Return the message of a packet.

    A field that is missing has its default, or is None where its type allows that. Fields
    that are not known are ignored.

    Raises:
        MessageError: a field is missing, of another type or out of range. Its cause is the
            error of the field.
    """
    request = _request_number(packet)
    blobs, values = Blobs(packet.blobs), {}
    try:
        for name, (unpacker, default) in _field_types(kind).items():
            plain = packet.header.get(name)
            if plain is None and default is not MISSING:
                values[name] = default
            else:
                values[name] = unpacker.unpack(plain, blobs, name)
    except ProtocolError as error:
        raise MessageError(f"message {packet.kind!r:.80}: {error}", request) from error
    except SurgSAM2Error as error:  # options or prompts that cannot be used
        raise MessageError(str(error), request) from error
    except (ValueError, TypeError) as error:  # such as numbers that do not fit each other
        raise MessageError(f"message {packet.kind!r:.80}: {error}", request) from error
    return kind(**values)


def _request_number(packet: Packet) -> int | None:
    number = packet.header.get("request")
    return number if type(number) is int else None


class MessageStream:
    """Turns messages into bytes and bytes into messages, for one connection.

    It does no input or output itself, but for payloads. At first it accepts nothing but a
    small `Hello`; `accept` changes that once the other side is known.

    Args:
        payloads: how large arrays travel.
        on_read: called with the slot of each payload that has been read; it must send
            `Released`.
    """

    def __init__(self, payloads: Payloads, on_read: Callable[[int], None]) -> None:
        self.window = Window()
        """The slots of payloads that the other side has not read yet."""
        self._incoming: dict[str, type[Message]] = {wire_name(Hello): Hello}
        self._payloads = payloads
        self._on_read = on_read
        self._decoder = PacketDecoder()

    def accept(self, incoming: Iterable[type[Message]]) -> None:
        """Accept messages of these classes, and large ones, from now on."""
        self._incoming = {wire_name(kind): kind for kind in [*incoming, Released]}
        self._decoder.accept_large()

    def encode(self, message: Message, acquire: Callable[[], int | None]) -> bytes | None:
        """Return the bytes of a message, or None when there is no slot for its payload.

        Args:
            message: the message.
            acquire: called to get a slot of `window` when the message has a payload.

        Raises:
            ProtocolError: it is too large, or not plain data.
            OutputError: there is no room for the payload.
        """
        kind, header, blobs = pack_message(message)
        if not (message.large and any(blobs)):
            return encode_packet(kind, header, blobs)
        slot = acquire()
        if slot is None:
            return None
        try:
            place, raw = self._payloads.write(slot, blobs)
            return encode_packet(kind, {**header, "payload": {**place, "slot": slot}}, raw)
        except SurgSAM2Error:
            self.window.release(slot)
            raise

    def feed(self, data: bytes) -> None:
        """Append bytes that have arrived."""
        self._decoder.feed(data)

    def messages(self) -> Iterator[Message]:
        """Yield the complete messages; may be called again after `MessageError`.

        Raises:
            MessageError: one message cannot be understood.
            ProtocolError: the bytes are not messages; nothing after them can be read.
        """
        for packet in self._decoder.packets():
            message = self._message(packet)
            if isinstance(message, Released):
                self.window.release(message.slot)
            else:
                yield message

    def _message(self, packet: Packet) -> Message:
        kind, request = self._incoming.get(packet.kind), _request_number(packet)
        if kind is None:
            raise MessageError(f"unknown message {packet.kind!r:.80}", request)
        place = packet.header.get("payload")
        if isinstance(place, dict):
            slot = place.get("slot")
            if type(slot) is not int:
                raise MessageError(f"message {packet.kind!r}: the payload has no slot", request)
            try:
                blobs = self._payloads.read(place, packet.blobs)
            except ProtocolError as error:
                raise MessageError(f"message {packet.kind!r}: {error}", request) from error
            self._on_read(slot)
            packet = packet._replace(blobs=tuple(blobs))
        return unpack_message(packet, kind)
