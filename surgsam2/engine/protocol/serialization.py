"""Prompts, masks and results as plain data and raw bytes, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from surgsam2.engine.protocol.messages import Message, ProtocolError
from surgsam2.errors import PromptError
from surgsam2.prompts import PromptSet
from surgsam2.prompts.file import prompts_as_text, prompts_from_text
from surgsam2.results.frame_result import FrameResult


def packed_size(width: int, height: int) -> int:
    """Bytes of one mask as bits."""
    return (width * height + 7) // 8


def pack(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool to (N, packed_size) uint8."""
    return np.packbits(masks.reshape(len(masks), -1), axis=1)


def unpack(packed: np.ndarray, width: int, height: int) -> np.ndarray:
    """(N, packed_size) uint8 to (N, H, W) bool, a copy."""
    bits = np.unpackbits(packed, axis=1, count=width * height)
    return bits.view(bool).reshape(len(packed), height, width)


def mask_from_bytes(data: bytes, width: int, height: int) -> np.ndarray:
    """(H, W) bool.

    Raises:
        ProtocolError: not as many bytes as a mask of this size has.
    """
    if width < 1 or height < 1 or len(data) != packed_size(width, height):
        raise ProtocolError(f"a mask of {width}x{height} pixels cannot have {len(data)} bytes")
    return unpack(np.frombuffer(data, np.uint8)[None], width, height)[0]


def prompts_to_wire(prompts: PromptSet) -> tuple[dict[str, Any], list[bytes]]:
    """Header fields and raw bytes: the prompt file's own text, and its masks as bits."""
    text, masks = prompts_as_text(prompts, "prompts")
    sizes = [[name, mask.shape[1], mask.shape[0]] for name, mask in masks.items()]
    return {"masks": sizes}, [text.encode(), *(pack(m[None]).tobytes() for m in masks.values())]


def prompts_from_wire(message: Message) -> PromptSet:
    """What `prompts_to_wire` made.

    Raises:
        ProtocolError: the message is not complete.
        PromptError: the prompts are not valid.
    """
    masks = {}
    for number, entry in enumerate(message.get("masks", list), start=1):
        match entry:
            case [str(name), int(width), int(height)]:
                masks[name] = mask_from_bytes(message.blob(number), width, height)
            case _:
                raise ProtocolError(f"a mask must be [name, width, height], got {entry!r:.80}")
    try:
        text = message.blob(0).decode()
    except UnicodeDecodeError as error:
        raise PromptError("the prompts are not text in UTF-8") from error
    return prompts_from_text(text, masks)


def image_from_wire(message: Message) -> np.ndarray | None:
    """The (H, W, 3) uint8 RGB image that prompts were made on, behind their masks, if one came.

    Raises:
        ProtocolError: the message is not complete.
    """
    size = message.optional("image", list)
    if not size:
        return None
    match size:
        case [int(height), int(width)] if height > 0 and width > 0:
            data = message.blob(1 + len(message.get("masks", list)))
        case _:
            raise ProtocolError(f"an image must be [height, width], got {size!r:.80}")
    if len(data) != height * width * 3:
        raise ProtocolError(f"an image of {width}x{height} pixels cannot have {len(data)} bytes")
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def result_to_wire(result: FrameResult) -> dict[str, Any]:
    """The header fields of a result; its masks travel beside them."""
    return {
        "frame": result.frame_index,
        "ids": list(result.object_ids),
        "iou": result.iou_scores.tolist(),
        "presence": result.presence.tolist(),
        "milliseconds": result.milliseconds,
    }


def result_from_wire(message: Message, masks: np.ndarray) -> FrameResult:
    """The result again, without logits.

    Args:
        masks: (N, H, W) bool.
    """
    return FrameResult(
        message.get("frame", int),
        tuple(message.get("ids", list)),
        masks,
        np.array(message.get("iou", list), np.float32),
        np.array(message.get("presence", list), np.float32),
        message.get("milliseconds", float),
    )
