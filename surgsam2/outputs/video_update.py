"""Replaces some frames of a video; all others are copied without decoding them.

A video consists of groups of pictures, each of which begins with a key frame and needs no other
group. The groups that have a changed frame are encoded anew and put in their place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from surgsam2.errors import VideoError
from surgsam2.outputs.base import OutputUpdate, OutputWriter
from surgsam2.storage.atomic_file import TEMPORARY_SUFFIX, replace, writing
from surgsam2.storage.output_folder import RESUME

_Piece = tuple[int, int, bool]
"""Index of the first frame, index of the frame after the last, and whether any frame changed."""


def update_video(
    update: OutputUpdate, name: str, writer: type[OutputWriter], rate: Fraction
) -> bool:
    """Update a video.

    Args:
        update: the folder of the video and the frames that changed.
        name: the name of the file.
        writer: the class that writes the file.
        rate: frames per second; a frame is shown at its index after the first frame's.

    Returns:
        Whether it was done. False leaves the video as it was: it has other frames than `update`
        says, is damaged, or was encoded with other settings.

    Raises:
        OutputError: the disk refuses.
    """
    import av

    from surgsam2.video.decoder import open_container  # it imports av

    path, first = update.folder / name, update.after[0]
    if not path.is_file() or not update.before or update.before[0] != first:
        return False
    part = path.with_name(name + TEMPORARY_SUFFIX)
    try:
        with ExitStack() as stack:
            stack.enter_context(writing(path))
            place = stack.enter_context(tempfile.TemporaryDirectory(dir=update.folder / RESUME))  # noqa: TID251
            source = _Clip(stack.enter_context(open_container(path)), first, rate)
            pieces = _pieces(source, update)
            encoded: dict[int, _Clip] = {}
            for start, stop, changed in pieces:
                if changed:
                    folder = Path(place) / str(start)
                    folder.mkdir()
                    with closing(writer(folder, update.context)) as new:
                        update.write(new, start, stop)
                    container = stack.enter_context(open_container(folder / name))
                    encoded[start] = _Clip(container, start, rate)
            if any(clip.settings != source.settings for clip in encoded.values()):
                return False
            source = _Clip(stack.enter_context(open_container(path)), first, rate)
            target = stack.enter_context(av.open(str(part), "w", format="mp4"))  # noqa: TID251
            stream = target.add_stream_from_template(source.stream)
            for start, stop, _ in pieces:
                clip = encoded.get(start, source)
                for index, packet in clip.packets():
                    if start <= index < stop:
                        packet.pts = packet.dts = round((index - first) / (rate * clip.time_base))
                        packet.stream = stream
                        target.mux(packet)
                    if index >= stop - 1:
                        break
        replace(part, path)
    except (VideoError, av.FFmpegError, ValueError):
        return False
    finally:
        part.unlink(missing_ok=True)
    return True


class _Clip:
    """The compressed frames of an open video file.

    Args:
        container: the file.
        first: index of its first frame.
        rate: frames per second.
    """

    def __init__(self, container: Any, first: int, rate: Fraction) -> None:
        self.stream = container.streams.video[0]
        self.time_base = self.stream.time_base
        context = self.stream.codec_context
        self.settings = (context.name, context.width, context.height, context.extradata)
        self._first, self._rate = first, rate
        self._packets = (packet for packet in container.demux(self.stream) if packet.size)

    def packets(self) -> Iterator[tuple[int, Any]]:
        """Yield the frame index and the packet of all frames that were not yielded before."""
        for packet in self._packets:
            yield self._first + round(packet.pts * self.time_base * self._rate), packet


def _pieces(source: _Clip, update: OutputUpdate) -> list[_Piece]:
    """Return the stretches of frames to copy and to encode anew, in order.

    Raises:
        ValueError: the video does not have the frames that `update` says.
    """
    found = [(index, packet.is_keyframe) for index, packet in source.packets()]
    if tuple(index for index, _ in found) != update.before or not found[0][1]:
        raise ValueError("the video has other frames")
    bounds = [index for index, is_key in found if is_key] + [update.after[-1] + 1]
    touched = {max(key for key in bounds[:-1] if key <= index) for index in update.changed}
    groups = [(start, stop, start in touched) for start, stop in pairwise(bounds)]
    merged = [list(run) for _, run in groupby(groups, key=lambda group: group[2])]
    return [(run[0][0], run[-1][1], run[0][2]) for run in merged]
