"""Label images, one PNG per frame: the DAVIS and VOC layout."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from surgsam2.atomic import write_bytes_atomically, writing
from surgsam2.colors import VOC_PALETTE
from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.prompts import PromptedObject
from surgsam2.results import FrameResult


class LabelPngWriter(OutputWriter):
    """``masks/00000.png``, ...: the pixel value is the object id, 0 is background.

    Named after the frame index (at least five digits). Palette images of 8 bits with the
    objects' own colours while all ids are at most 255, greyscale images of 16 bits
    otherwise. Where masks overlap, the object later in the set is on top.
    """

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self._masks = self.folder / "masks"
        with writing(self._masks):
            self._masks.mkdir(exist_ok=True)
        largest = max((item.id for item in context.objects), default=0)
        self._palette = _palette(context.objects) if largest <= 255 else None

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        labels = np.zeros(
            (self.context.height, self.context.width),
            np.uint16 if self._palette is None else np.uint8,
        )
        for i in self.context.drawing_order(result):
            np.copyto(labels, result.object_ids[i], where=result.masks[i], casting="unsafe")
        image = Image.fromarray(labels)
        if self._palette is not None:
            image.putpalette(self._palette)
        buffer = io.BytesIO()
        # run-length coding: label images are long runs, and it is several times
        # faster than looking for matches
        image.save(buffer, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)
        path = self._masks / f"{result.frame_index:05d}.png"
        write_bytes_atomically(path, buffer.getbuffer())

    def close(self) -> None:
        """Nothing to do: every image is complete once written."""


def _palette(objects: Iterable[PromptedObject]) -> bytes:
    """768 bytes (256 RGB colours) for 8-bit label images.

    0 is black, each object's id has the object's own colour, and the remaining entries are
    the PASCAL VOC / DAVIS colours. Objects with an id above 255 are left out.
    """
    palette = bytearray(VOC_PALETTE.tobytes())
    for item in objects:
        if item.id <= 255:
            palette[3 * item.id : 3 * item.id + 3] = bytes(item.rgb)
    return bytes(palette)
