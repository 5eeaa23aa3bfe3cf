"""How each type of a message's fields becomes JSON and raw bytes, and is checked on arrival."""

from __future__ import annotations

import math
import types
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import numpy as np

from surgsam2.engine.protocol.framing import Buffer, ProtocolError
from surgsam2.errors import PromptError
from surgsam2.prompts import PromptSet
from surgsam2.prompts.file import prompts_as_text, prompts_from_text
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.options import Options

Image: TypeAlias = Annotated[np.ndarray, "image"]
"""A field that holds an (H, W, 3) uint8 RGB image."""
Mask: TypeAlias = Annotated[np.ndarray, "mask"]
"""A field that holds an (H, W) bool mask."""
MAX_SIDE = 2**16
"""Largest width and height of an image or a mask in pixels."""
_MAX_EXACT = 2**53  # whole numbers up to here are floats too


class Blobs:
    """The raw bytes of a packet, taken piece by piece in the order of the fields."""

    def __init__(self, pieces: Sequence[Buffer]) -> None:
        self._pieces = iter(pieces)

    def take(self, length: int | None = None) -> Buffer:
        """Return the next piece.

        Raises:
            ProtocolError: there is none, or it does not have `length` bytes.
        """
        piece = next(self._pieces, None)
        if piece is None:
            raise ProtocolError("raw bytes are missing")
        if length is not None and len(piece) != length:
            raise ProtocolError(f"{length} raw bytes are needed, got {len(piece)}")
        return piece


class FieldType(ABC):
    """Packs values of one type and unpacks them again."""

    @abstractmethod
    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        """Return the value as plain data for JSON; raw bytes are appended to `blobs`."""

    @abstractmethod
    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        """Return the value.

        Args:
            plain: what JSON gave; anything is possible.
            blobs: the raw bytes that have not been taken yet.
            name: the name of the field, for messages of errors.

        Raises:
            ProtocolError: the data are not a value of this type.
            SurgSAM2Error: options or prompts that are complete but cannot be used.
        """


class _Scalar(FieldType):
    def __init__(self, kind: type) -> None:
        self._kind = kind

    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        return self._kind(value)

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        if self._kind is float and type(plain) is int and abs(plain) < _MAX_EXACT:
            plain = float(plain)
        if type(plain) is not self._kind:
            raise ProtocolError(f"{name} must be {self._kind.__name__}, got {plain!r:.80}")
        if isinstance(plain, float) and not math.isfinite(plain):
            raise ProtocolError(f"{name} must be a finite number, got {plain!r}")
        return plain


class _Choice(FieldType):
    def __init__(self, choices: tuple[Any, ...]) -> None:
        self._choices = choices

    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        return value

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        if type(plain) is not str or plain not in self._choices:
            raise ProtocolError(f"{name} must be one of {self._choices}, got {plain!r:.80}")
        return plain


class _Optional(FieldType):
    def __init__(self, inner: FieldType) -> None:
        self._inner = inner

    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        return None if value is None else self._inner.pack(value, blobs)

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        return None if plain is None else self._inner.unpack(plain, blobs, name)


class _Tuple(FieldType):
    def __init__(self, inner: FieldType) -> None:
        self._inner = inner

    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        return [self._inner.pack(item, blobs) for item in value]

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        if not isinstance(plain, list):
            raise ProtocolError(f"{name} must be a list, got {plain!r:.80}")
        return tuple(self._inner.unpack(v, blobs, f"{name}[{n}]") for n, v in enumerate(plain))


class _ByObject(FieldType):
    """A dictionary by object id: pairs of id and value."""

    def __init__(self, inner: FieldType) -> None:
        self._inner = inner

    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        return [[key, self._inner.pack(item, blobs)] for key, item in value.items()]

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        if not isinstance(plain, list) or not all(
            isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int for pair in plain
        ):
            raise ProtocolError(f"{name} must be pairs of an id and a value, got {plain!r:.80}")
        return {key: self._inner.unpack(v, blobs, f"{name} of {key}") for key, v in plain}


class _Image(FieldType):
    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        pixels = np.ascontiguousarray(value, np.uint8)
        blobs.append(pixels.data.cast("B"))
        return list(value.shape[:2])

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        height, width = _size(plain, name)
        data = blobs.take()
        if len(data) != height * width * 3:
            raise ProtocolError(f"{name} of {width}x{height} pixels cannot have {len(data)} bytes")
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)


class _Bytes(FieldType):
    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        blobs.append(value)
        return len(value)

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        if type(plain) is not int or plain < 0:
            raise ProtocolError(f"the length of {name} must be a number, got {plain!r:.80}")
        return bytes(blobs.take(plain))


class _Mask(FieldType):
    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        blobs.append(pack_masks(value[None]))
        return list(value.shape)

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        height, width = _size(plain, name)
        return unpack_masks(blobs.take(), 1, height, width)[0]


class _Options(FieldType):
    def __init__(self, kind: type[Options]) -> None:
        self._kind = kind

    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        return value.as_mapping()

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        if not isinstance(plain, dict):
            raise ProtocolError(f"{name} must be an object, got {plain!r:.80}")
        return self._kind.from_mapping(plain, name)


class _Prompts(FieldType):
    """Prompts travel as the text of a prompt file, with the masks that it names as bits."""

    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        text, masks = prompts_as_text(value, "prompts")
        blobs.append(text.encode())
        blobs.extend(pack_masks(mask[None]) for mask in masks.values())
        return [[name, *mask.shape] for name, mask in masks.items()]

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        if not isinstance(plain, list):
            raise ProtocolError(f"{name} must be a list of masks, got {plain!r:.80}")
        data = blobs.take()
        masks = {}
        for entry in plain:
            if not isinstance(entry, list) or not entry or type(entry[0]) is not str:
                raise ProtocolError(f"a mask must be [name, height, width], got {entry!r:.80}")
            height, width = _size(entry[1:], f"mask {entry[0]!r:.40}")
            masks[entry[0]] = unpack_masks(blobs.take(), 1, height, width)[0]
        try:
            text = bytes(data).decode()
        except UnicodeDecodeError as error:
            raise PromptError(f"the {name} are not text in UTF-8") from error
        return prompts_from_text(text, masks)


class _Result(FieldType):
    """A `FrameResult` travels without its logits."""

    _numbers = _Tuple(_Scalar(float))

    def pack(self, value: Any, blobs: list[Buffer]) -> Any:
        blobs.append(pack_masks(value.masks))
        return {
            "frame": value.frame_index,
            "ids": list(value.object_ids),
            "iou": value.iou_scores.tolist(),
            "presence": value.presence.tolist(),
            "milliseconds": value.milliseconds,
            "size": list(value.masks.shape[1:]),
        }

    def unpack(self, plain: Any, blobs: Blobs, name: str) -> Any:
        if not isinstance(plain, dict):
            raise ProtocolError(f"{name} must be an object, got {plain!r:.80}")
        whole, number = _Scalar(int), _Scalar(float)
        ids = _Tuple(whole).unpack(plain.get("ids"), blobs, "ids")
        height, width = _size(plain.get("size"), name)
        return FrameResult(
            whole.unpack(plain.get("frame"), blobs, "frame"),
            ids,
            unpack_masks(blobs.take(), len(ids), height, width),
            np.array(self._numbers.unpack(plain.get("iou"), blobs, "iou"), np.float32),
            np.array(self._numbers.unpack(plain.get("presence"), blobs, "presence"), np.float32),
            number.unpack(plain.get("milliseconds"), blobs, "milliseconds"),
        )


_KNOWN: dict[Any, FieldType] = {
    Image: _Image(),
    Mask: _Mask(),
    bytes: _Bytes(),
    FrameResult: _Result(),
    PromptSet: _Prompts(),
    **{kind: _Scalar(kind) for kind in (int, float, str, bool)},
}


@cache
def field_type(kind: Any) -> FieldType:
    """Return what packs and unpacks values of an annotated type.

    Raises:
        TypeError: fields of messages cannot have this type.
    """
    if kind in _KNOWN:
        return _KNOWN[kind]
    if isinstance(kind, type) and issubclass(kind, Options):
        return _Options(kind)
    origin, inner = get_origin(kind), get_args(kind)
    made: FieldType | None = None
    if origin is Literal:
        made = _Choice(inner)
    elif origin in (Union, types.UnionType) and len(inner) == 2 and type(None) in inner:
        made = _Optional(field_type(next(k for k in inner if k is not type(None))))
    elif origin is tuple and inner[1:] == (...,):
        made = _Tuple(field_type(inner[0]))
    elif origin is dict and inner[0] is int:
        made = _ByObject(field_type(inner[1]))
    if made is None:
        raise TypeError(f"a message cannot have a field of type {kind}")
    return made


def packed_size(height: int, width: int) -> int:
    """Return the number of bytes of one mask whose pixels are bits."""
    return (width * height + 7) // 8


def pack_masks(masks: np.ndarray) -> bytes:
    """Return (N, H, W) bool masks as bits; each mask begins with a new byte."""
    count, height, width = masks.shape
    return np.packbits(masks.reshape(count, height * width), axis=1).tobytes()


def unpack_masks(data: Buffer, count: int, height: int, width: int) -> np.ndarray:
    """Return what `pack_masks` packed, (N, H, W) bool.

    Raises:
        ProtocolError: so many masks of this size have another number of bytes.
    """
    if len(data) != count * packed_size(height, width):
        raise ProtocolError(
            f"{count} masks of {width}x{height} pixels cannot have {len(data)} bytes"
        )
    packed = np.frombuffer(data, np.uint8).reshape(count, packed_size(height, width))
    bits = np.unpackbits(packed, axis=1, count=width * height)
    return bits.view(bool).reshape(count, height, width)


def _size(plain: Any, name: str) -> tuple[int, int]:
    match plain:
        case [int(height), int(width)] if (
            type(height) is type(width) is int and min(plain) > 0 and max(plain) <= MAX_SIDE
        ):
            return height, width
    raise ProtocolError(
        f"the size of {name} must be [height, width] from 1 to {MAX_SIDE}, got {plain!r:.80}"
    )
