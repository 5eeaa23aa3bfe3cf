"""An import file for Label Studio."""

from __future__ import annotations

import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.classes import classes_of
from surgsam2.outputs.frame_images import frame_file
from surgsam2.outputs.streamed import StreamedFile
from surgsam2.outputs.vos import SEQUENCE
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import write_text_atomically

_RUN_BITS = (3, 4, 8, 16)
"""Number of bits that the length of a run may take."""


class LabelStudioWriter(OutputWriter):
    """Writes ``tasks.label-studio.json`` and the labelling set-up ``label-studio.xml``.

    A task is a frame with the masks as predictions of brush labels; the object id stands in the
    field ``meta``. The frames are those of the format ``vos``, as files that Label Studio serves
    when the output folder is its root of local files.
    """

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self._classes = classes_of(context.objects)
        self._count = 0
        labels = {item.id: item for item in self._classes.values()}.values()
        lines = [
            f"    <Label value={quoteattr(item.name)} background={quoteattr(item.color)}/>\n"
            for item in labels
        ]
        write_text_atomically(
            self.folder / "label-studio.xml",
            '<View>\n  <Image name="image" value="$image"/>\n'
            f'  <BrushLabels name="label" toName="image">\n{"".join(lines)}  </BrushLabels>\n'
            "</View>\n",
        )
        self._file = StreamedFile(self.folder / "tasks.label-studio.json")
        self._file.write("[")

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        index = result.frame_index
        name = frame_file(self.context, index)
        task = {
            "data": {
                "image": f"/data/local-files/?d=vos/JPEGImages/{SEQUENCE}/{name}.jpg",
                "frame": index,
            },
            "predictions": [
                {
                    "model_version": "surgsam2",
                    "result": [
                        self._label(index, object_id, mask)
                        for object_id, mask in zip(result.object_ids, result.masks, strict=True)
                        if mask.any()
                    ],
                }
            ],
        }
        text = json.dumps(task, ensure_ascii=False)
        self._file.write(("\n" if not self._count else ",\n") + text)
        self._count += 1

    def _label(self, index: int, object_id: int, mask: np.ndarray) -> dict[str, object]:
        return {
            "id": f"{index}-{object_id}",
            "type": "brushlabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": self.context.width,
            "original_height": self.context.height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": brush_runs(mask),
                "brushlabels": [self._classes[object_id].name],
            },
            "meta": {"object_id": object_id},
        }

    def close(self) -> None:
        """Complete the file and give it its final name."""
        if not self._file.closed:
            self._file.write("]\n")
            self._file.finish()


def brush_runs(mask: np.ndarray) -> list[int]:
    """Return a mask in the run-length code of Label Studio's brush, as bytes.

    The values are those of the mask as an RGBA picture, so four of 255 for a pixel of the object.
    The head has the number of values in 32 bits, the bits of a value less 1 in 5 bits, and the
    four sizes of lengths less 1 in 4 bits each. A run is a bit 1, which of the sizes in two bits,
    its length less 1 in that many bits, and its value in 8 bits.

    Args:
        mask: (H, W) bool.
    """
    values = np.concatenate([[not mask.flat[0]], mask.ravel()])
    starts = np.flatnonzero(values[1:] != values[:-1])
    lengths = np.diff(np.concatenate([starts, [mask.size]])) * 4
    bits = [f"{mask.size * 4:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in _RUN_BITS)]
    value = bool(mask.flat[0])
    for length in lengths.tolist():
        left = length
        while left:
            size = next((i for i, n in enumerate(_RUN_BITS) if left <= 2**n), len(_RUN_BITS) - 1)
            part = min(left, 2 ** _RUN_BITS[size])
            bits.append(f"1{size:02b}{part - 1:0{_RUN_BITS[size]}b}{255 if value else 0:08b}")
            left -= part
        value = not value
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()
