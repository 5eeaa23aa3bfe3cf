"""Video files (mp4, mov, avi, mkv, webm, ...) through PyAV."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from surgsam2.errors import VideoError, raise_if_out_of_memory
from surgsam2.video.base import DEFAULT_FPS, Frames, Video, check_size
from surgsam2.video.color import Orientation, RgbConverter, notes_about, orientation_of
from surgsam2.video.decoder import (
    Decoder,
    never,
    open_container,
    stamp_of,
    video_stream,
    video_streams,
)
from surgsam2.video.index import FrameIndex, PacketTable, scan
from surgsam2.video.prefetch import Cancelled
from surgsam2.video.timing import timing_of

BACKWARD_BYTES = 256 * 2**20
"""Bytes of frames held while reading backward, if more than `_BACKWARD_FEWEST` frames."""
_BACKWARD_FEWEST = 8
# Short groups of pictures are read together up to this many frames, because seeking is slow.
_BACKWARD_WANTED = 16
_RECENT = 8  # number of decoded frames that `video[i]` keeps
_TAIL = 600  # largest number of frames decoded at opening to find the end of a damaged file
_ORDER_PROBE = 64  # number of frames decoded to check timestamps that look wrong


class ContainerVideo(Video):
    """A video file, whose frames are found by timestamp, so that ``video[i]`` is exact.

    Opening reads all packets once without decoding, and decodes the first frame. So the number
    of frames is right and seeking is exact also with B-frames, open groups of pictures, a
    varying frame rate and wrong headers.

    Frames come out upright: rotation and mirroring by the file's display matrix are
    applied. They are delivered as stored otherwise: non-square pixels are not stretched,
    and the two fields of interlaced video stay woven (`warnings` says so).

    Damage. Packets before the first frame that decodes do not count. A frame that does not
    decode in the middle is replaced by the frame before it, so that indices and times
    stay right; frames lost at the end shorten the video. `warnings` says so.
    A file that looks cut is checked at opening by decoding its end; damage that does not
    show in the packets is found while reading: then iteration ends early, `frame_count`
    becomes what can be read, and ``video[i]`` beyond it raises `IndexError`.

    A file whose timestamps do not order its frames (missing or wrong, as H.264 with
    B-frames in AVI) is decoded once at opening to count its frames, and ``video[i]``
    going backward decodes from the beginning.

    Args:
        source: the path that the user gave.
        path: the file.
        stream: index of the video stream in the file; None chooses, see `video_stream`.

    Raises:
        VideoError: the file is not a video that can be read, or has no such stream.
    """

    def __init__(self, source: str, path: Path, stream: int | None = None) -> None:
        self._path = path
        self._lost: set[int] = set()
        self._repaired: set[int] = set()
        self._recent: OrderedDict[int, np.ndarray] = OrderedDict()
        self._decoder: Decoder | None = None
        self._walk: Frames | None = None
        self._next = 0  # the frame that `_walk` gives next

        with open_container(path) as container:
            track = video_stream(container, path, stream)
            self._stream = int(track.index)
            self._others = [s.index for s in video_streams(container) if s.index != track.index]
            check_size(source, track.codec_context.width, track.codec_context.height)
            table = scan(container, track, source)
            declared = int(track.frames or 0)
            short = _missing_seconds(container, table)
            average = track.average_rate or track.guessed_rate
            time_base = float(track.time_base or 0)
            aspect = Fraction(track.sample_aspect_ratio or 1)
        if not table.stamps:
            raise VideoError(
                f"{path}: no frames in this video; it is empty or cut off, copy it again"
            )
        self._index = FrameIndex(table)
        first = self._first_frame(source)
        check_size(source, first.width, first.height)
        self._stored_size = (first.width, first.height)
        orientation = orientation_of(first)
        self._orientation = orientation or Orientation()
        width, height = self._stored_size
        if self._orientation.transpose:
            width, height, aspect = height, width, 1 / aspect
        self._pixel_aspect = aspect
        super().__init__(source, width=width, height=height, fps=1.0, frame_count=len(self._index))
        self._converter = self._new_converter()
        if self._others and stream is None:
            self._warn_of_other_streams()
        if orientation is None:
            self._warn("rotation", "the rotation is not a multiple of 90 degrees; it is ignored")
        try:
            self._converter(first)
        except (av.FFmpegError, ValueError) as error:
            raise_if_out_of_memory(error)
            raise VideoError(
                f"{source}: frames of pixel format {first.format.name} cannot be made RGB; "
                "convert it to H.264 mp4"
            ) from error
        for kind, note in notes_about(first).items():
            self._warn(kind, note)

        skipped = self._settle_beginning(first)
        self._nominal = max(declared - skipped, len(self._index))
        self._times = self._index.stamps * time_base - self._index.stamps[0] * time_base
        self._fps = self._settle_rate(average)
        if not self._index.usable:
            self._times = np.arange(len(self._index)) / self._fps
        if table.trouble or declared > table.packets or short:
            self._settle_end(table, short)

    def _first_frame(self, source: str) -> Any:
        with closing(Decoder(self._path, None, self._stream)) as decoder:
            try:
                first = next(decoder.pictures(never), None)
            except av.FFmpegError as error:
                raise VideoError(f"{source}: cannot be decoded ({error.strerror})") from error
        if first is None:
            raise VideoError(
                f"{self._path}: no frame can be decoded; the file is damaged, or of a codec "
                "variant that is not supported; convert it to H.264 mp4"
            )
        return first

    def _warn_of_other_streams(self) -> None:
        width, height = self._stored_size
        self._warn(
            "streams",
            f"the file has {len(self._others) + 1} video tracks: stream {self._stream} "
            f"({width}x{height}) is read; choose another ({', '.join(map(str, self._others))}) "
            "with --stream",
        )

    def _settle_beginning(self, first: Any) -> int:
        """Make the first frame that decodes frame 0; return the number of packets before it."""
        if self._index.usable and not self._order_is_true():
            self._index.usable = False
        if not self._index.usable:
            with closing(Decoder(self._path, None, self._stream)) as decoder:
                count = sum(1 for _ in decoder.pictures(never))
            self._index.stamps = np.arange(count)
            self._frame_count = count
            self._warn(
                "order",
                "the timestamps do not order the frames: the file was decoded once to count "
                "them, and jumping to a frame is slow",
            )
            return 0
        skipped = self._index.frame_of(stamp_of(first)) or 0
        if skipped:
            self._index.trim(skipped)
            self._frame_count = len(self._index)
            self._warn(
                "beginning",
                f"the first {skipped} frames do not decode (the recording does not begin with a "
                "key frame) and are left out",
            )
        return skipped

    def _order_is_true(self) -> bool:
        """Return whether decoded frames come in the order of their timestamps.

        Only in doubt when the codec reorders frames and the packets' timestamps do not
        show it: some AVI files have decoding times in the place of presentation times.
        """
        with closing(Decoder(self._path, self._index, self._stream)) as decoder:
            if self._index.reorders or not decoder.reorders:
                return True
            last = -1
            for picture, _ in zip(decoder.pictures(never), range(_ORDER_PROBE), strict=False):
                frame = self._index.frame_of(stamp_of(picture))
                if frame is None or frame <= last:
                    return False
                last = frame
        return True

    def _settle_rate(self, average: Any) -> float:
        """Return the frame rate, and keep a note of frames that are missing by their times."""
        nominal = float(average) if average else 0.0
        if not self._index.usable:
            return nominal or DEFAULT_FPS
        timing = timing_of(self._times, nominal)
        if timing.gaps:
            places = "place" if timing.gaps == 1 else "places"
            self._warn(
                "gaps",
                f"{timing.missing} frames are missing in {timing.gaps} {places} (first: after "
                f"frame {timing.first_gap}): the times of the frames jump there",
            )
        return timing.rate or DEFAULT_FPS

    def _settle_end(self, table: PacketTable, short: float) -> None:
        reasons = []
        if self._nominal > self._frame_count:
            reasons.append(f"{self._frame_count} of {self._nominal} frames are in the file")
        if short:
            reasons.append(f"the last {short:.1f} s of its declared duration are missing")
        if table.trouble:
            reasons.append(table.trouble)
        self._warn("cut", f"the file is cut off or damaged: {'; '.join(reasons)}")
        count = self._frame_count
        if not self._index.usable:
            return
        begin = self._index.first_frame_of(self._index.key_for(count - 1))
        if count - begin <= _TAIL:
            with closing(Decoder(self._path, self._index, self._stream)) as decoder:
                for _ in self._filled(decoder, count - 1, count, never, self._converter):
                    pass
        if self._frame_count == count and self._nominal > count:
            self._end_at(count)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self._path,)

    @property
    def container(self) -> Path:
        """The file that is decoded, which is a temporary one for video inside of DICOM."""
        return self._path

    @property
    def stream(self) -> int | None:
        """Index of the video stream in its file; None when there is no other."""
        return self._stream if self._others else None

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel as it is shown, divided by its height, after rotation."""
        return self._pixel_aspect

    @property
    def timestamps(self) -> np.ndarray:
        """Presentation time of each frame in seconds, (frame_count,) float64; frame 0 is at 0.0."""
        return np.array(self._times[: self._frame_count], dtype=np.float64)

    def time_of(self, index: int) -> float:
        """Return the presentation time of a frame in seconds after frame 0; see `Video`."""
        return float(self._times[self._checked(index)])

    def _read(self, index: int) -> np.ndarray:
        frame = self._recent.get(index)
        if frame is None:
            frame = self._decode_to(index)
        return frame.copy()

    def _decode_to(self, index: int) -> np.ndarray:
        if self._decoder is None:
            self._decoder = Decoder(self._path, self._usable_index, self._stream)
        ahead = self._walk is not None and self._next <= index
        if ahead and self._usable_index is not None:
            # Decode on, unless there is a key frame on the way.
            key = self._index.key_for(index)
            ahead = self._index.first_frame_of(key) <= self._next
        if not ahead:
            if self._walk is not None:
                self._walk.close()
            self._recent.clear()
            self._walk = self._filled(
                self._decoder, index, len(self._index), never, self._converter, lead=_RECENT
            )
        walk, self._walk = self._walk, None  # It cannot be continued if it fails.
        assert walk is not None
        for i, frame in walk:
            self._next = i + 1
            self._recent[i] = frame
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
            if i == index:
                self._walk = walk
                return frame
        raise IndexError(
            f"{self._source} has {self._frame_count} frames that decode, no frame {index}"
        )

    def _forward(self, start: int, stop: int, cancelled: Cancelled) -> Frames:
        if start >= stop:
            return
        with closing(Decoder(self._path, self._usable_index, self._stream)) as decoder:
            yield from self._filled(decoder, start, stop, cancelled, self._new_converter())

    def _backward(self, start: int, stop: int, cancelled: Cancelled) -> Frames:
        convert = self._new_converter()
        most = max(_BACKWARD_FEWEST, BACKWARD_BYTES // (self._width * self._height * 3))
        if start >= stop:
            return
        with closing(Decoder(self._path, self._usable_index, self._stream)) as decoder:
            while stop > start and not cancelled():
                begin = self._piece_before(start, stop, most)
                piece = list(self._filled(decoder, begin, stop, cancelled, convert))
                while piece and not cancelled():
                    yield piece.pop()
                stop = begin

    def _piece_before(self, start: int, stop: int, most: int) -> int:
        """Return where decoding begins in order to read the frames before `stop` backward."""
        index = self._usable_index
        if index is None:
            return max(start, stop - most)
        begin = stop
        while begin > start and stop - begin < min(_BACKWARD_WANTED, most):
            earlier = index.first_frame_of(index.key_for(begin - 1))
            if stop - earlier > most and begin < stop:
                break
            begin = earlier
        return max(start, begin, stop - most)

    def _filled(
        self,
        decoder: Decoder,
        start: int,
        stop: int,
        cancelled: Cancelled,
        convert: Callable[[Any], np.ndarray],
        lead: int = 0,
    ) -> Frames:
        """Yield frames `start` to `stop` - 1 without gaps, and keep notes of damage.

        With `lead`, up to that many frames before `start` that are decoded anyway come first.
        All frames are converted at once: a decoder conceals damage with the content of memory
        that it uses again, which must not depend on how many pictures are kept here.
        """
        expected = start
        before: deque[tuple[int, np.ndarray]] = deque(maxlen=lead)
        picture = None
        last = -1
        with closing(decoder.from_frame(start, cancelled)) as pictures:
            for i, decoded in pictures:
                if i < start:
                    if lead:
                        before.append((i, convert(decoded)))
                elif i >= expected:
                    while before:
                        yield before.popleft()
                    while expected < min(i, stop):
                        self._note_lost(expected)
                        yield expected, convert(decoded if picture is None else picture)
                        expected += 1
                    if expected >= stop:
                        return
                    self._note_condition(i, decoded)
                    yield i, convert(decoded)
                    expected = i + 1
                    if expected >= stop:
                        return
                if i > last:
                    picture, last = decoded, i
        if not cancelled():
            if last < 0:
                raise VideoError(
                    f"{self._path}: no frame can be decoded any more; was the file changed?"
                )
            self._end_at(last + 1)

    @property
    def _usable_index(self) -> FrameIndex | None:
        return self._index if self._index.usable else None

    def _new_converter(self) -> RgbConverter:
        return RgbConverter(*self._stored_size, self._orientation)

    def _end_at(self, count: int) -> None:
        """Shorten the video: the last frame that decodes is `count` - 1."""
        self._frame_count = min(self._frame_count, count)
        self._warn(
            "end",
            f"decoded {self._frame_count} of {self._nominal} frames; the rest is damaged or "
            "missing",
        )

    def _note_lost(self, index: int) -> None:
        self._lost.add(index)
        self._warn(
            "lost",
            f"{len(self._lost)} of {self._nominal} frames (first: {min(self._lost)}) do not "
            "decode; the frame before stands in their place",
        )

    def _note_condition(self, index: int, picture: Any) -> None:
        if (picture.width, picture.height) != self._stored_size:
            width, height = self._stored_size
            self._warn("size", f"frames change size on the way; all are scaled to {width}x{height}")
        if not getattr(picture, "is_corrupt", False):
            return
        self._repaired.add(index)
        self._warn(
            "repaired",
            f"{len(self._repaired)} of {self._nominal} frames (first: {min(self._repaired)}) are "
            "damaged and shown as the decoder repaired them",
        )

    def _release(self) -> None:
        if self._walk is not None:
            self._walk.close()
            self._walk = None
        self._recent.clear()
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None


def _missing_seconds(container: Any, table: PacketTable) -> float:
    """Return the seconds of the declared duration without packets; 0.0 if not clearly cut."""
    if not container.duration or table.end_time is None:
        return 0.0
    start = (container.start_time or 0) / av.time_base
    missing = start + container.duration / av.time_base - table.end_time
    # Some files do not say how long the last frame lasts.
    last_frame = container.duration / av.time_base / max(len(table.stamps), 1)
    # The duration is that of the longest stream; sound may go on a little longer.
    other = 1.0 if len(container.streams) > 1 else 0.0
    return missing if missing > max(other, 2 * last_frame) else 0.0
