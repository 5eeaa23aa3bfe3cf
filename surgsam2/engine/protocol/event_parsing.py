"""Messages of the engine's process as events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.engine.protocol.events import (
    Event,
    Failed,
    Finished,
    FrameRead,
    LiveTracked,
    ModelLoaded,
    Previewed,
    Progress,
    Ready,
    Refined,
    Tracked,
    VideoOpened,
)
from surgsam2.engine.protocol.messages import Message, ProtocolError
from surgsam2.engine.protocol.serialization import (
    mask_from_bytes,
    packed_size,
    result_from_wire,
    unpack,
)
from surgsam2.engine.protocol.shared_memory import SharedBlock
from surgsam2.results.frame_result import FrameResult

Release = Callable[[str, int], None]


class Answers:
    """Makes events of messages; reads masks and frames from the worker's shared blocks.

    Args:
        folder: of the shared files.
        release: tells the worker that a slot of a block was read.
    """

    def __init__(self, folder: Path, release: Release) -> None:
        self._folder = folder
        self._release = release
        self._blocks: dict[str, SharedBlock] = {}  # the newest of masks, and of frames
        self._kinds: dict[str, Callable[[Message], Event]] = {
            "ready": lambda m: Ready(**_fields(m, python=str, torch=str, surgsam2=str, pid=int)),
            "model_loaded": lambda m: ModelLoaded(
                **_fields(
                    m, request=int, name=str, device=str, dtype=str, image_size=int, trained=bool
                )
            ),
            "video_opened": lambda m: VideoOpened(
                **_fields(
                    m, request=int, source=str, width=int, height=int, fps=float, frame_count=int
                ),
                warnings=tuple(m.get("warnings", list)),
            ),
            "frame_read": self._frame_read,
            "previewed": self._previewed,
            "refined": self._refined,
            "tracked": self._tracked,
            "progress": lambda m: Progress(
                **_fields(m, request=int, done=int, total=int, fps=float)
            ),
            "live_tracked": self._live_tracked,
            "finished": lambda m: Finished(
                **_fields(m, request=int, kind=str, status=str),
                done=m.optional("done", int) or 0,
                total=m.optional("total", int) or 0,
                warnings=tuple(m.optional("warnings", list) or ()),
            ),
            "failed": lambda m: Failed(
                m.optional("request", int), **_fields(m, message=str, kind=str)
            ),
        }

    def event(self, message: Message) -> Event | None:
        """The event; None for a message that is no answer.

        Raises:
            ProtocolError: a field is missing or wrong.
        """
        make = self._kinds.get(message.kind)
        try:
            return None if make is None else make(message)
        except ProtocolError:
            raise
        except (ValueError, TypeError) as error:  # numbers that do not fit each other
            raise ProtocolError(f"message {message.kind!r} cannot be read: {error}") from error

    def _previewed(self, message: Message) -> Previewed:
        result = self._result_with_bytes(message)
        ids = result.object_ids
        return Previewed(
            message.get("request", int),
            result.frame_index,
            dict(zip(ids, result.masks, strict=True)),
            dict(zip(ids, result.iou_scores.tolist(), strict=True)),
            dict(zip(ids, result.presence.tolist(), strict=True)),
        )

    def _refined(self, message: Message) -> Refined:
        result = self._result_with_bytes(message)
        return Refined(
            message.get("request", int),
            result.frame_index,
            result.object_ids[0],
            result.masks[0],
            float(result.iou_scores[0]),
            float(result.presence[0]),
        )

    def _tracked(self, message: Message) -> Tracked:
        fields = _fields(message, request=int, done=int, total=int, fps=float)
        return Tracked(result=self._result_from_slot(message), **fields)

    def _live_tracked(self, message: Message) -> LiveTracked:
        fields = _fields(message, request=int, stamp=float, dropped=int)
        return LiveTracked(result=self._result_from_slot(message), **fields)

    def _result_with_bytes(self, message: Message) -> FrameResult:
        width, height = message.get("width", int), message.get("height", int)
        size, data = packed_size(width, height), message.blob(0)
        masks = [
            mask_from_bytes(data[n * size : (n + 1) * size], width, height)
            for n in range(len(message.get("ids", list)))
        ]
        return result_from_wire(message, np.stack(masks))

    def _result_from_slot(self, message: Message) -> FrameResult:
        width, height = message.get("width", int), message.get("height", int)
        count = len(message.get("ids", list))
        name = message.optional("block", str)
        if name is None:
            return result_from_wire(message, np.zeros((count, height, width), bool))
        needed = packed_size(width, height)
        packed = self._slot(message)[: count * needed].reshape(count, needed)
        masks = unpack(packed, width, height)
        self._release(name, message.get("slot", int))
        return result_from_wire(message, masks)

    def _frame_read(self, message: Message) -> FrameRead:
        fields = _fields(message, request=int, frame=int, stamp=float)
        width, height = message.get("width", int), message.get("height", int)
        image = self._slot(message)[: width * height * 3].reshape(height, width, 3).copy()
        self._release(message.get("block", str), message.get("slot", int))
        return FrameRead(image=image, **fields)

    def _slot(self, message: Message) -> np.ndarray:
        """The bytes that a message says are in the worker's shared memory."""
        name = message.get("block", str)
        what = name.partition("-")[0]
        if what not in self._blocks or self._blocks[what].name != name:
            slots, size = message.get("slots", int), message.get("size", int)
            self._blocks[what] = SharedBlock.open(self._folder, name, slots, size)
        return self._blocks[what].slot(message.get("slot", int))


def _fields(message: Message, /, **kinds: type) -> dict[str, Any]:
    return {name: message.get(name, kind) for name, kind in kinds.items()}
