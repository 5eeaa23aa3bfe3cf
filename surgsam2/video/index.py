"""The table of packets and frames of a file, which makes seeking by frame index exact."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np

from surgsam2.video.base import check_count

# A decoder never reorders by more pictures than this (16 in H.264 and HEVC, with a margin);
# timestamps that do come from joined recordings or a broken clock.
_MAX_REORDER = 64


@dataclass
class PacketTable:
    """The findings of one pass over the packets of a stream, without decoding any."""

    stamps: array = field(default_factory=lambda: array("q"))
    """Timestamps, in the stream's time base, of the packets that become frames, in decoding
    order."""
    keys: array = field(default_factory=lambda: array("q"))
    """Positions in `stamps` of the packets that decoding can start from."""
    key_dts: list[int | None] = field(default_factory=list)
    """Decoding timestamp of each of `keys`."""
    packets: int = 0
    """Number of packets of the stream, shown or not."""
    stamped: bool = True
    """Whether every packet has a timestamp."""
    end_time: float | None = None
    """Time at which the last packet of any stream ends, in seconds of the container's clock."""
    trouble: str | None = None
    """Why reading stopped early, or which packet is cut, when the file is damaged."""


def scan(container: Any, stream: Any, source: str) -> PacketTable:
    """Read every packet of a file once, without decoding.

    Args:
        container: the open `av` container.
        stream: the video stream whose packets count.
        source: the video's path, for messages.

    Raises:
        VideoError: more frames than the limit.
    """
    table = PacketTable()
    hidden_bit = stream.codec_context.name == "vp8"
    cut = False
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as error:
            table.trouble = f"reading stopped with: {error.strerror}"
            break
        if packet.size == 0 and packet.dts is None:
            continue  # This is the flush packet at the end.
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None and packet.time_base:
            time = float((stamp + (packet.duration or 0)) * packet.time_base)
            table.end_time = time if table.end_time is None else max(table.end_time, time)
        if packet.stream.index != stream.index:
            continue
        table.packets += 1
        check_count(source, table.packets)
        # A VP8 alternate reference frame is decoded but never shown (RFC 6386, 9.1).
        if packet.is_discard or (hidden_bit and packet.size and not bytes(packet)[0] & 0x10):
            cut = False
            continue
        cut = packet.is_corrupt
        if stamp is None:
            table.stamped = False
            stamp = len(table.stamps)
        if packet.is_keyframe:
            table.keys.append(len(table.stamps))
            table.key_dts.append(packet.dts)
        table.stamps.append(stamp)
    if cut:
        # The file ends within this packet, which would decode to half a picture.
        table.packets -= 1
        table.trouble = "the last packet is cut off"
        if len(table.stamps) > 1:
            if table.keys and table.keys[-1] == len(table.stamps) - 1:
                table.keys.pop()
                table.key_dts.pop()
            table.stamps.pop()
    return table


class FrameIndex:
    """The frames in presentation order, and the key frame that each is decoded from.

    `usable` is False when the timestamps do not give the order of the frames (missing,
    repeated, jumping back). Then frames are known only by counting from the beginning.

    Args:
        table: the packets, from `scan`.
    """

    def __init__(self, table: PacketTable) -> None:
        stamps = np.asarray(table.stamps, dtype=np.int64)
        keys = np.asarray(table.keys, dtype=np.int64)
        order = np.argsort(stamps, kind="stable")
        self.stamps = stamps[order]
        """Timestamp of each frame, (n,) int64, ascending."""
        self._position = order  # in decoding order
        self._key_position = keys
        self._key_stamp = stamps[keys]
        self._key_dts = table.key_dts
        self.usable = bool(
            table.stamped
            and np.all(np.diff(self.stamps) > 0)
            and np.all(np.diff(self._key_stamp) > 0)
            and np.all(np.abs(order - np.arange(len(order))) <= _MAX_REORDER)
        )
        self.reorders = bool(np.any(order != np.arange(len(order))))
        """Whether the order of the timestamps differs from that of the packets."""

    def __len__(self) -> int:
        return len(self.stamps)

    def trim(self, first: int) -> None:
        """Remove the frames before `first`, so that frame `first` becomes frame 0."""
        self.stamps = self.stamps[first:]
        self._position = self._position[first:]

    def frame_of(self, stamp: int | None) -> int | None:
        """Return the frame with this timestamp; None when there is none."""
        if stamp is None:
            return None
        i = int(np.searchsorted(self.stamps, stamp))
        return i if i < len(self.stamps) and self.stamps[i] == stamp else None

    def key_for(self, frame: int) -> int:
        """Return the last key frame from which `frame` decodes; -1 is the beginning of the file.

        A frame that follows a key frame in the file but is shown before it (open GOP) needs
        the key frame before that one.
        """
        by_position = np.searchsorted(self._key_position, self._position[frame], side="right")
        by_stamp = np.searchsorted(self._key_stamp, self.stamps[frame], side="right")
        key = int(min(by_position, by_stamp)) - 1
        return -1 if key <= 0 else key

    def first_frame_of(self, key: int) -> int:
        """Return the first frame that is right when decoding starts from key frame `key`."""
        return 0 if key < 0 else int(np.searchsorted(self.stamps, self._key_stamp[key]))

    def seek_stamps(self, key: int) -> list[int]:
        """Return timestamps with which a demuxer finds key frame `key`, best first.

        Matroska looks up presentation times, MP4 and AVI decoding times.
        """
        dts = self._key_dts[key]
        return [int(self._key_stamp[key]), *([dts] if dts is not None else [])]

    def starts_by(self, key: int, stamp: int | None) -> bool:
        """Return whether the packet with this timestamp is at key frame `key` or before it."""
        frame = self.frame_of(stamp)
        return frame is not None and bool(self._position[frame] <= self._key_position[key])
