"""A description of a video in words: what is in it, and what is assumed about it."""

from __future__ import annotations

from collections.abc import Iterator

from surgsam2.video.base import Video
from surgsam2.video.timing import is_regular


def describe(video: Video) -> Iterator[tuple[str, str]]:
    """Yield pairs of a label and a value that describe an open video.

    The names of its files are not among them.
    """
    yield "frames", f"{video.frame_count} of {video.width} x {video.height} pixels"
    if len(video.files) > 1:
        yield "files", f"{len(video.files)} images, {video.files[0].suffix.lstrip('.').lower()}"
    seconds = video.time_of(-1) if video.frame_count else 0.0
    regular = is_regular(video.timestamps, video.fps)
    kind = "" if regular else ", varying (mean)"
    yield "rate", f"{video.fps:g} frames per second{kind}; the last frame is at {seconds:.3f} s"
    if video.pixel_aspect != 1:
        yield "pixel shape", f"{video.pixel_aspect} as wide as high; frames are read as stored"
    yield from _tracks(video)
    for warning in video.warnings:
        yield "note", warning
    if not video.warnings:
        yield "damage", "none was found without decoding all frames"


def _tracks(video: Video) -> Iterator[tuple[str, str]]:
    """Yield the video tracks of a file that PyAV reads."""
    from surgsam2.video.container import ContainerVideo
    from surgsam2.video.decoder import open_container, video_streams

    if not isinstance(video, ContainerVideo):
        return
    with open_container(video.container) as container:
        for track in video_streams(container):
            context = track.codec_context
            if context is None:
                yield f"stream {track.index}", "a codec that is not supported, not read"
                continue
            is_read = video.stream in (None, track.index)
            read = "read" if is_read else "not read; choose it with --stream"
            size = f"{context.width} x {context.height} pixels"
            yield f"stream {track.index}", f"{context.name}, {context.pix_fmt}, {size}, {read}"
