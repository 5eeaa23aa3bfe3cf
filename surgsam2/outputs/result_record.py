"""The results of a run in a file, from which every format can be written again."""

from __future__ import annotations

import zlib

import numpy as np

from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.disk_store import DiskStore


class ResultRecord:
    """Results by frame index, with bit-packed and compressed masks.

    Args:
        store: keeps the data; it belongs to the caller.
        width: width of the masks in pixels.
        height: height of the masks in pixels.
    """

    def __init__(self, store: DiskStore, width: int, height: int) -> None:
        self._store = store
        self._width = width
        self._height = height

    def put(self, result: FrameResult) -> None:
        """Keep a result, in place of an earlier one of the same frame."""
        masks = zlib.compress(np.packbits(result.masks, axis=-1).tobytes(), level=1)
        self._store.put(
            result.frame_index,
            ids=np.array(result.object_ids, dtype=np.int64),
            masks=np.frombuffer(masks, np.uint8),
            scores=np.stack([result.iou_scores, result.presence]),
            milliseconds=np.array(result.milliseconds),
        )

    def get(self, index: int) -> FrameResult:
        """Return the result of a frame, without logits; `KeyError` when there is none."""
        stored = self._store.get(index)
        ids = tuple(map(int, stored["ids"]))
        shape = (len(ids), self._height, (self._width + 7) // 8)
        # The size is bounded, because a damaged file could claim any.
        data = zlib.decompressobj().decompress(stored["masks"].tobytes(), int(np.prod(shape)) or 1)
        packed = np.frombuffer(data, np.uint8).reshape(shape)
        masks = np.unpackbits(packed, axis=-1, count=self._width).astype(bool)
        iou_scores, presence = stored["scores"]
        return FrameResult(index, ids, masks, iou_scores, presence, float(stored["milliseconds"]))

    def __contains__(self, index: int) -> bool:
        return index in self._store

    def indices(self) -> list[int]:
        """Return the frame indices that have a result, ascending."""
        return self._store.indices()
