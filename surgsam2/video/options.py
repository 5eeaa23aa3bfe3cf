"""The options of opening a video. Needs no PyAV."""

from __future__ import annotations

import os
from dataclasses import dataclass

from surgsam2.storage.options import Options, option
from surgsam2.video import Video, open_video


@dataclass(frozen=True, kw_only=True)
class VideoOptions(Options):
    """How a video is opened; see `open_video`."""

    fps: float | None = option(None, "frame rate of images that carry none", metavar="RATE")
    pattern: str | None = option(
        None, "which images of a folder are frames, such as '*_endo.png'", metavar="NAMES"
    )
    stream: int | None = option(
        None, "index of the video stream in a file with several", minimum=0, metavar="N"
    )

    def open(self, source: str | os.PathLike[str]) -> Video:
        """Open a video with these options; see `open_video` for the errors."""
        return open_video(source, fps=self.fps, pattern=self.pattern, stream=self.stream)
