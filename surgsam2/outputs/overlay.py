"""The video with the masks drawn over it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

import cv2
import numpy as np

from surgsam2.outputs.base import OutputUpdate
from surgsam2.outputs.drawing import draw_overlay
from surgsam2.outputs.video_file import VideoFileWriter
from surgsam2.outputs.video_update import update_video
from surgsam2.results.frame_result import FrameResult
from surgsam2.video.h264 import add_h264


class OverlayWriter(VideoFileWriter):
    """Writes ``overlay.mp4``: each object in its colour with its name, at the video's rate.

    Odd sizes are padded by one row or column. Colours are BT.709 (BT.601 below 720 lines), limited
    range, and tagged so. Without an H.264 encoder the video is MPEG-4 part 2.
    """

    file_name: ClassVar[str] = "overlay.mp4"
    container_format: ClassVar[str] = "mp4"

    @classmethod
    def update(cls, update: OutputUpdate) -> bool:
        """Replace the groups of pictures with changed frames; copy the others without decoding.

        See `OutputWriter.update`. Videos with irregular times are not updated.
        """
        rate = cls.constant_rate(update.context)
        return rate is not None and update_video(update, cls.file_name, cls, rate)

    def _picture(self, frame: np.ndarray, result: FrameResult) -> Any:
        image = draw_overlay(frame, result, self.context)
        bottom, right = self.context.height % 2, self.context.width % 2
        if bottom or right:
            image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        return _to_yuv(image)

    def _add_stream(self, rate: Fraction) -> Any:
        size = (
            self.context.width + self.context.width % 2,
            self.context.height + self.context.height % 2,
        )
        try:
            stream = add_h264(self._container, size, rate, preset="veryfast", crf=21)
        except ValueError:
            stream = self._container.add_stream("mpeg4", rate=rate)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.bit_rate = int(size[0] * size[1] * float(rate) * 0.3)
        context = stream.codec_context
        # Without B-frames, the first frame is at time 0, and a killed process loses less.
        context.max_b_frames = 0
        context.gop_size = max(1, round(2 * rate))  # for quick seeking
        space = _color_space(stream.height)
        context.colorspace = space
        context.color_primaries = space
        context.color_trc = space
        context.color_range = 1  # limited
        return stream

    def _container_options(self) -> dict[str, str]:
        """Return options for a file in fragments that becomes an ordinary file when it is closed.

        With fragments, what was written remains playable if the process is killed. FFmpeg has this
        since 7.1; with older versions there are no options.
        """
        import av

        if av.library_versions["libavformat"] >= (61, 7):
            return {"movflags": "hybrid_fragmented+frag_keyframe"}
        return {}


def _color_space(height: int) -> int:
    """Return the code of matrix, primaries and transfer: BT.709, or BT.601 below 720 lines."""
    return 1 if height >= 720 else 6


def _to_yuv(image: np.ndarray) -> Any:
    """Convert an (H, W, 3) uint8 RGB array to a tagged yuv420p frame of limited range."""
    import av

    space = _color_space(image.shape[0])
    picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    picture = picture.reformat(
        format="yuv420p", dst_colorspace="ITU709" if space == 1 else "ITU601"
    )
    picture.colorspace = space
    picture.color_range = 1
    return picture
