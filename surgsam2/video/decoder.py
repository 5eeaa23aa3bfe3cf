"""An open video file and its decoder, which can start at any frame."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import av

from surgsam2.errors import VideoError, raise_if_out_of_memory
from surgsam2.storage.limits import FRAME_PIXELS
from surgsam2.video.index import FrameIndex
from surgsam2.video.prefetch import Cancelled

Decoded = tuple[int, Any]
"""Frame index and `av.VideoFrame`."""

# Only these demuxers read a file. Playlists (HLS, DASH, concat) would make the library open
# other files and addresses, and text formats accept any content.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,asf,flv,ogg,mxf,ivf,"
    "h264,hevc,mjpeg,yuv4mpegpipe,gif,apng,dv,rm,nut,wav,mp3,flac,aac"
)
_OPTIONS = {
    "format_whitelist": _FORMATS,
    "protocol_whitelist": "file",
    "fflags": "+genpts",
}
_DEFAULT, _ATTACHED_PICTURE = 1 << 0, 1 << 10  # FFmpeg's flags of a stream


_CONCEALED_FROM = 32
"""Number of frames that a decoder sees before a damaged one, so that it conceals the damage with
the same pixels as when it decodes from the beginning: more than it keeps in memory."""


class Decoder:
    """One open file, decoded from a frame on. It is used by one thread at a time.

    Args:
        path: the video file.
        index: the frames of the file; None decodes from the beginning only.
        stream: index of the video stream in the file.

    Raises:
        VideoError: the file is not a video that can be read.
    """

    def __init__(self, path: Path, index: FrameIndex | None, stream: int) -> None:
        self._path = path
        self._index = index
        self._stream_index = stream
        self._open()

    def _open(self) -> None:
        self._container = open_container(self._path)
        try:
            self._stream = video_stream(self._container, self._path, self._stream_index)
        except VideoError:
            self._container.close()
            raise
        # With threads that decode several frames at once, the pixels with which a decoder
        # conceals damage depend on where decoding began.
        self._stream.thread_type = "SLICE"
        # A later frame may declare another size; the decoder refuses it before it takes memory.
        self._stream.codec_context.options = {"max_pixels": str(FRAME_PIXELS.value)}
        self._fresh = True

    @property
    def reorders(self) -> bool:
        """Whether the codec may show frames in another order than they are stored in."""
        return bool(self._stream.codec_context.has_b_frames)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def from_frame(self, start: int, cancelled: Cancelled) -> Generator[Decoded, None, None]:
        """Yield frames in ascending order, from `start` or, mostly, a little before it.

        The first is the last decodable frame at or before `start`, or one before that,
        unless the file has none.
        """
        index = self._index
        if index is None:
            self._rewind()
            yield from enumerate(self.pictures(cancelled))
            return
        key, step = index.key_for(start), 1
        while True:
            # A key frame may turn out to be damaged: then try those before it.
            retry = key >= 0
            packets = self._seek(key)
            reliable = index.first_frame_of(key)
            last = -1
            for picture in self._decode(packets, cancelled):
                i = index.frame_of(stamp_of(picture))
                if i is None or i < reliable or i <= last:
                    continue
                # What a decoder makes of a damaged picture depends on those before it.
                if retry and (i > start or picture.is_corrupt):
                    break
                retry, last = False, i
                yield i, picture
            if not retry or cancelled():
                return
            earlier = index.key_for(max(0, reliable - _CONCEALED_FROM))
            key, step = max(-1, min(key - step, earlier)), step * 2
            # A decoder that is only flushed would conceal damage by the pictures of this try.
            self._container.close()
            self._open()

    def pictures(self, cancelled: Cancelled) -> Iterator[Any]:
        """Return all pictures from the beginning of the file, as the decoder gives them."""
        self._rewind()
        return self._decode(self._packets(), cancelled)

    def _rewind(self) -> None:
        if not self._fresh:
            self._container.close()
            self._open()

    def _seek(self, key: int) -> Iterator[Any]:
        """Return packets from key frame `key` on, or from before it."""
        index = self._index
        assert index is not None
        tries = 0
        while key >= 0 and tries < 3:
            for stamp in index.seek_stamps(key):
                try:
                    self._fresh = False
                    self._container.seek(stamp, stream=self._stream)
                except av.FFmpegError:
                    continue
                packets = self._packets()
                first = next(packets, None)
                if first is not None and index.starts_by(key, stamp_of(first)):
                    return _chain(first, packets)
            # The demuxer landed after the key frame: try earlier ones, then the beginning.
            key, tries = key - 1, tries + 1
        self._rewind()
        return self._packets()

    def _packets(self) -> Iterator[Any]:
        self._fresh = False
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                break
            yield packet
        yield None  # The decoder then returns the pictures that it still holds.

    def _decode(self, packets: Iterator[Any], cancelled: Cancelled) -> Iterator[Any]:
        for packet in packets:
            if cancelled():
                return
            try:
                pictures = self._stream.decode(packet)
            except av.FFmpegError:
                continue  # The packet is damaged; frames that it costs are noticed later.
            yield from pictures


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def never() -> bool:
    """Return False: the decoding is never cancelled."""
    return False


def stamp_of(item: Any) -> int | None:
    """Return the presentation time of a packet or frame, or else its decoding time."""
    return item.dts if item.pts is None else item.pts


def open_container(path: Path) -> Any:
    """Open a file as an `av` container.

    Raises:
        VideoError: the file is not a video that can be read.
    """
    try:
        options = _OPTIONS | {"max_pixels": str(FRAME_PIXELS.value)}
        # Without the prefix, a name such as "a:b.mp4" would be taken for an address.
        return av.open(f"file:{path}", options=options, metadata_errors="replace")
    except FileNotFoundError as error:
        raise VideoError(f"{path}: not found") from error
    except PermissionError as error:
        raise VideoError(f"{path}: may not be read; check its permissions") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise_if_out_of_memory(error)
        raise VideoError(
            f"{path}: not a video that can be read (damaged, cut off before its index, or "
            "another kind of file); play it to check, or convert it to H.264 mp4"
        ) from error


def video_stream(container: Any, path: Path, index: int | None = None) -> Any:
    """Return a video stream of a file.

    Args:
        container: the open `av` container.
        path: the file, for messages.
        index: index of the stream in the file; None takes the stream that the file marks as
            its default, of several the largest, of several the longest.

    Raises:
        VideoError: there is no such stream, or its codec is not supported.
    """
    streams = video_streams(container)
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise VideoError(f"{path}: no video track (it holds {kinds}); give a file with a picture")
    chosen = [s for s in streams if index in (None, s.index)]
    if not chosen:
        numbers = ", ".join(str(s.index) for s in streams)
        raise VideoError(f"{path}: stream {index} is no video track; choose one of {numbers}")
    stream = max(chosen, key=_preference)
    if stream.codec_context is None:
        raise VideoError(
            f"{path}: the codec of its video track is not supported; convert it to H.264 mp4"
        )
    return stream


def video_streams(container: Any) -> list[Any]:
    """Return the video streams of an `av` container, without cover art."""
    return [s for s in container.streams.video if not s.disposition.value & _ATTACHED_PICTURE]


def _preference(stream: Any) -> tuple[bool, int, float, int]:
    """Return a key by which the stream to be used is the largest."""
    context = stream.codec_context
    size = context.width * context.height if context is not None else 0
    seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
    return bool(stream.disposition.value & _DEFAULT), size, seconds, -stream.index
