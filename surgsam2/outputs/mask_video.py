"""Videos for editing programs: the masks alone, and the objects on a transparent background."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from surgsam2.outputs.label_png import label_map
from surgsam2.outputs.video_file import VideoFileWriter
from surgsam2.results.frame_result import FrameResult


class MaskVideoWriter(VideoFileWriter):
    """Writes ``masks.mkv``: a lossless grey video (FFV1) whose values are object ids.

    It has 8 bits if all ids are at most 255, else 16. Where masks overlap, the object that comes
    later in the set is on top.
    """

    file_name: ClassVar[str] = "masks.mkv"
    container_format: ClassVar[str] = "matroska"

    def _add_stream(self, rate: Fraction) -> Any:
        stream = self._container.add_stream("ffv1", rate=rate)
        stream.width, stream.height = self.context.width, self.context.height
        stream.pix_fmt = self._format
        return stream

    @property
    def _format(self) -> str:
        return "gray16le" if any(item.id > 255 for item in self.context.objects) else "gray"

    def _picture(self, frame: np.ndarray, result: FrameResult) -> Any:
        import av

        return av.VideoFrame.from_ndarray(label_map(result, self.context), format=self._format)


class CutoutVideoWriter(VideoFileWriter):
    """Writes ``objects.mov``: the objects' pixels, transparent elsewhere (ProRes 4444).

    Colours are BT.709 and 10 bits deep.
    """

    file_name: ClassVar[str] = "objects.mov"
    container_format: ClassVar[str] = "mov"

    def _add_stream(self, rate: Fraction) -> Any:
        stream = self._container.add_stream("prores_ks", rate=rate, options={"profile": "4444"})
        stream.width, stream.height = self.context.width, self.context.height
        stream.pix_fmt = "yuva444p10le"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        return stream

    def _picture(self, frame: np.ndarray, result: FrameResult) -> Any:
        import av

        seen = result.masks.any(axis=0).astype(np.uint8) * 255
        pixels = np.ascontiguousarray(np.dstack([frame, seen]))
        picture: Any = av.VideoFrame.from_ndarray(pixels, format="rgba")
        picture = picture.reformat(format="yuva444p10le", dst_colorspace="ITU709")
        picture.colorspace = 1
        return picture
