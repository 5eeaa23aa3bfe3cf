"""A scene for 3D Slicer with the video and the masks as synchronised sequences."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from surgsam2.errors import InputError, MissingDependencyError
from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.results.frame_result import FrameResult
from surgsam2.video.base import DEFAULT_FPS

MAX_BYTES = 16 * 2**30
"""Bytes of the largest scene that is written. Slicer keeps all pixels of a scene in memory."""


class SceneWriter(OutputWriter):
    """Writes ``scene.mrb``: the tracked frames and their segmentation with names and colours.

    Frames must come with ascending indices; the video's pixels are stored as they are,
    width x height x 3 bytes a frame. Memory holds one frame. Masks may overlap. A run
    without a single frame leaves no file.

    Raises:
        MissingDependencyError: the package ``slicer-core`` is not installed.
        InputError: the scene is larger than Slicer or the disk can hold.
    """

    needs_order: ClassVar[bool] = True

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self.check_run(Path(folder), context)
        stream, style, entry_of = _mrml()
        known = context.fps is not None and math.isfinite(context.fps) and context.fps > 0
        styles = [
            style(item.id, item.name, item.color, entry_of(item.object_class))
            for item in context.objects
        ]
        self._last = -1
        self._stream = stream(
            self.folder / "scene.mrb", float(context.fps or 0) if known else DEFAULT_FPS, styles
        )

    @classmethod
    def check_run(cls, folder: Path, context: OutputContext) -> None:
        """Refuse, before anything is written, a scene that Slicer or the disk cannot hold."""
        _mrml()
        if context.frame_count is None:
            return
        frame = context.width * context.height * 3
        needed = context.frame_count * frame
        folder = folder.absolute()
        nearest = next(path for path in (folder, *folder.parents) if path.is_dir())
        free = shutil.disk_usage(nearest).free
        if needed > min(MAX_BYTES, free):
            where = "on the disk" if free < MAX_BYTES else "in a scene, all of which Slicer loads"
            room = min(MAX_BYTES, free)
            fewer = f"choose at most {room // frame} frames with --start and --stop"
            raise InputError(
                f"scene.mrb would hold {context.frame_count} frames, {_size(needed)}, and there is "
                f"room for {_size(room)} {where}; {fewer if room >= frame else 'make room'}, or "
                "leave the format out"
            )

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        if result.frame_index <= self._last:
            raise InputError(
                f"the scene needs ascending frames: frame {result.frame_index} came after "
                f"{self._last}"
            )
        self._last = result.frame_index
        masks = dict(zip(result.object_ids, result.masks, strict=True))
        self._stream.add(result.frame_index, frame, masks)

    def close(self) -> None:
        """Complete the scene."""
        self._stream.close()


def _mrml() -> tuple[Any, Any, Any]:
    """Import what is needed of `surgsam2.mrml`, which takes seconds and is done when needed."""
    try:
        from surgsam2.mrml.scene_stream import SceneStream
        from surgsam2.mrml.styles import ObjectStyle
        from surgsam2.mrml.terminology import entry_of
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "surgsam2":
            raise
        raise MissingDependencyError(
            f"the format scene needs 3D Slicer's libraries, and they cannot be imported ({error}); "
            "install them: pip install slicer-core"
        ) from error
    return SceneStream, ObjectStyle, entry_of


def _size(count: int) -> str:
    """Return a number of bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"
