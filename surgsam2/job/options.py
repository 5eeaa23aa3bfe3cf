"""The options of one run that writes results into a folder. Needs no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from surgsam2.errors import InputError
from surgsam2.storage.options import Options, option
from surgsam2.tracking.options import TrackingOptions

FORMATS = (
    "png", "overlay", "coco", "csv", "scene", "polygons", "yolo", "vos", "cvat", "label-studio",
    "mask-video", "cutout-video", "dicom-seg",
)  # fmt: skip
"""The names of all formats of results; `surgsam2.outputs.FORMATS` has their writers."""
DEFAULT_FORMATS = FORMATS[:4]
"""The formats that are written unless others are chosen."""

if TYPE_CHECKING:
    from surgsam2.video import Video


@dataclass(frozen=True, kw_only=True)
class JobOptions(Options):
    """How a video is segmented into a folder.

    Raises:
        InputError: a value cannot be used.
    """

    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    """How objects are tracked. Where masks overlap, label PNGs show the object that comes later
    in the prompt file."""
    formats: tuple[str, ...] = option(
        DEFAULT_FORMATS,
        f"formats of the results, some of {', '.join(FORMATS)} (docs/files.md describes them)",
        metavar="NAMES",
    )
    overwrite: bool = option(False, "write into a folder that holds other files")
    resume: bool = option(
        False, "continue the run that was interrupted in the output folder, or begin one"
    )
    checkpoint_every: int = option(
        100, "number of frames after which what resume needs is saved", minimum=1, metavar="N"
    )
    keep_names: bool = option(
        False, "write the video's file name into the results; it may name a patient"
    )
    stride: int = option(
        1,
        "track every N-th frame, counted from frame 0; frames keep their numbers",
        minimum=1,
        metavar="N",
    )
    classes: str | None = option(
        None,
        "list of classes that gives objects their classes by name, so that COCO categories have "
        "the same ids for every video: a CSV file, or the name of a list of the package, such as "
        "cholecseg8k",
        metavar="LIST",
    )

    def __post_init__(self) -> None:
        if isinstance(self.formats, str):
            raise InputError(f"formats must be a tuple such as ('png',), got {self.formats!r}")
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            raise InputError(
                f"formats must be some of {', '.join(FORMATS)}, got {','.join(self.formats)!r}"
            )
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class VideoOptions(Options):
    """How a video is opened; see `surgsam2.open_video`."""

    fps: float | None = option(
        None, "frame rate of images that carry none; 25 without it", metavar="RATE"
    )
    pattern: str | None = option(
        None,
        "names of the images of a folder that are frames, such as '*_endo.png'",
        metavar="NAMES",
    )
    stream: int | None = option(
        None, "index of the video track in a file with several", minimum=0, metavar="N"
    )

    def open(self, source: str | os.PathLike[str]) -> Video:
        """Open a video with these options; see `surgsam2.open_video` for the errors."""
        from surgsam2.video import open_video

        return open_video(source, fps=self.fps, pattern=self.pattern, stream=self.stream)
