"""An open video file and its decoder, which can start at any frame."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import av

from surgsam2.errors import VideoError
from surgsam2.storage.limits import FRAME_PIXELS
from surgsam2.video.index import FrameIndex
from surgsam2.video.prefetch import Cancelled

Decoded = tuple[int, Any]
"""Frame index and `av.VideoFrame`."""

# Only these demuxers read a file. Playlists (HLS, DASH, concat) would make the library open
# other files and addresses, and text formats accept any content.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,asf,flv,ogg,mxf,ivf,"
    "h264,hevc,gif,apng,dv,rm,nut,wav,mp3,flac,aac"
)
_OPTIONS = {
    "format_whitelist": _FORMATS,
    "protocol_whitelist": "file",
    "fflags": "+genpts",
}
_ATTACHED_PICTURE = 1 << 10  # FFmpeg's flag of cover art


class Decoder:
    """One open file, decoded from a frame on. It is used by one thread at a time.

    Args:
        path: the video file.
        index: the frames of the file; None decodes from the beginning only.

    Raises:
        VideoError: the file is not a video that can be read.
    """

    def __init__(self, path: Path, index: FrameIndex | None) -> None:
        self._path = path
        self._index = index
        self._open()

    def _open(self) -> None:
        self._container = open_container(self._path)
        try:
            self._stream = video_stream(self._container, self._path)
        except VideoError:
            self._container.close()
            raise
        self._stream.thread_type = "AUTO"
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
                if retry and i > start:
                    break
                retry, last = False, i
                yield i, picture
            if not retry or cancelled():
                return
            key, step = max(-1, key - step), step * 2

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
        raise VideoError(
            f"{path}: not a video that can be read (damaged, cut off before its index, or "
            "another kind of file); play it to check, or convert it to H.264 mp4"
        ) from error


def video_stream(container: Any, path: Path) -> Any:
    """Return the first video track that is not cover art; `VideoError` when there is none."""
    streams = [s for s in container.streams.video if not s.disposition.value & _ATTACHED_PICTURE]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise VideoError(f"{path}: no video track (it holds {kinds}); give a file with a picture")
    stream = streams[0]
    if stream.codec_context is None:
        raise VideoError(
            f"{path}: the codec of its video track is not supported; convert it to H.264 mp4"
        )
    return stream
