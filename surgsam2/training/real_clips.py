"""Training clips from real frames, kept on disk as `CachedClip` reads them.

Still images become clips by `surgsam2.data.warped`. Parts of a real video become clips whose
labels are regions of their first frame, carried on by optical flow where it is consistent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from surgsam2.data import Sequence, VOSDataset
from surgsam2.data.regions import colour_regions
from surgsam2.data.warped import Still, warped_clip
from surgsam2.errors import DatasetError, InputError
from surgsam2.training.clip_cache import CachedClip, has_clip, write_clip
from surgsam2.video import open_video

_FLOW_SIDE = 384
"""Side of the square frames between which optical flow is computed, in pixels."""
_LONGEST_STRIDE = 4
"""Largest distance of two frames of a clip of a video, in frames of the video."""
_FLOW_TRIES = 30
"""Number of parts of a video that are tried for a clip."""
_MOST_OBJECTS = 3
"""Number of regions of a part that are followed."""
_SMALLEST_REGION = 0.01
"""Smallest share of the picture that such a region covers."""
_INCONSISTENT = 1.5
"""Difference in x or y, in pixels, between a pixel and where the flow to the other frame and back
leads, above which its flow is not consistent."""
_MOST_LOST = 0.12
"""Share of an object's pixels without consistent flow from which on the object is not used."""
_REGION_SETS = 3
"""Number of different divisions into regions of every frame without annotation."""


@dataclass(frozen=True)
class RealClipsConfig:
    """Which clips to make of which frames; the same values give the same clips."""

    folder: str = ""
    """Folder of annotated frames in the VOS layout."""
    sequences: list[str] | None = None
    """Names of the sequences of `folder` that are used; None uses all."""
    video: str = ""
    """A video without annotation."""
    video_frames: int = 125
    """Only the first frames of the video are read."""
    flow: bool = False
    """Clips are parts of the video with labels carried by optical flow; else warped stills."""
    clips: int = 300
    """Number of clips."""
    first_seed: int = 2_000_000
    """Clip k has the seed `first_seed` + k."""
    frames: int = 10
    """Number of frames of a clip."""
    side: int = 384
    """Side of the stored square frames in pixels."""
    unannotated: float = 0.5
    """Probability that a still is taken with regions of colour instead of its annotation."""
    instruments: float = 0.0
    """Probability that the instruments of a generated clip are in front of a still."""

    def __post_init__(self) -> None:
        if not self.folder and not self.video:
            raise InputError("a source of kind real needs real.folder, real.video or both")
        if self.flow and not self.video:
            raise InputError("a source with real.flow needs real.video")
        if not 0 <= self.instruments <= 1:
            raise InputError(
                f"real.instruments must be a probability from 0 to 1, got {self.instruments}"
            )
        if self.flow and self.instruments:
            raise InputError("a source with real.flow has no instruments: leave real.instruments 0")


def build_real_clips(folder: str | Path, config: RealClipsConfig) -> list[CachedClip]:
    """Return the clips of `config`; those that are not yet in `folder` are made first.

    Args:
        folder: where the clips are kept.
        config: which clips are made, and of which frames.

    Raises:
        DatasetError: frames cannot be read, of which the message names all; the video is too short
            or its flow follows nothing; or a clip in `folder` is damaged.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    kind = "flow" if config.flow else "warped"
    if config.instruments:
        kind += f"-instruments{config.instruments:g}"
    names = [
        f"{config.first_seed + k}-{kind}-{config.frames}x{config.side}" for k in range(config.clips)
    ]
    missing = [name for name in names if not has_clip(root / name)]
    if missing:
        make = _flow_maker(config) if config.flow else _warp_maker(config)
        for name in missing:
            write_clip(root / name, *make(int(name.split("-")[0])))
    return [CachedClip(root / name) for name in names]


def _video(config: RealClipsConfig) -> list[np.ndarray]:
    """Read the first frames of the video, (S, S, 3) uint8 RGB, a third larger than the clips'."""
    side = (config.side * 4 // 3,) * 2
    frames = []
    with open_video(config.video) as video:
        for _, frame in video.frames(0, config.video_frames):
            frames.append(cv2.resize(frame, side, interpolation=cv2.INTER_AREA))
    return frames


def _warp_maker(config: RealClipsConfig) -> Callable[[int], Still]:
    """Return a function that makes the frames and labels of a clip of warped stills by its seed."""
    video = _video(config) if config.video else []
    places: list[tuple[Sequence | None, int]] = [(None, k) for k in range(len(video))]
    if config.folder:
        for sequence in VOSDataset(config.folder, config.sequences):
            places += [(sequence, index) for index in sequence.annotated]
    _require_readable(config.folder, places)
    chosen = np.random.default_rng(config.first_seed).random(len(places)) < config.unannotated

    @cache
    def regions_of(place: int, variant: int) -> Still:
        sequence, index = places[place]
        image = video[index] if sequence is None else sequence.read_frame(index)
        return image, colour_regions(image, place * _REGION_SETS + variant)

    @cache
    def annotated(place: int) -> Still:
        sequence, index = places[place]
        assert sequence is not None
        labels = sequence.read_labels(index)
        assert labels is not None
        return sequence.read_frame(index), labels.astype(np.uint8)

    def make(seed: int) -> Still:
        variant = seed % _REGION_SETS

        def read(place: int) -> Still:
            without = places[place][0] is None or chosen[(place + seed) % len(places)]
            return regions_of(place, variant) if without else annotated(place)

        return warped_clip(
            read, len(places), seed, config.frames, config.side, instruments=config.instruments
        )

    return make


def _require_readable(folder: str, places: list[tuple[Sequence | None, int]]) -> None:
    """Read every annotated frame once.

    Raises:
        DatasetError: naming all frames that cannot be read.
    """
    problems = []
    for sequence, index in places:
        try:
            if sequence is not None:
                sequence.read(index)
        except DatasetError as error:
            problems.append(str(error))
    if problems:
        raise DatasetError(
            f"{folder}: {len(problems)} frames cannot be read, mend or remove them: "
            + "; ".join(problems)
        )


def _flow_maker(config: RealClipsConfig) -> Callable[[int], Still]:
    """Return a function that makes the frames and labels of a part of the video by a seed.

    Raises:
        DatasetError: the video is too short.
    """
    frames = [
        cv2.resize(frame, (_FLOW_SIDE, _FLOW_SIDE), interpolation=cv2.INTER_AREA)
        for frame in _video(config)
    ]
    needed = (config.frames - 1) * _LONGEST_STRIDE + 2
    if len(frames) < needed:
        raise DatasetError(
            f"{config.video}: has {len(frames)} frames, but clips of {config.frames} frames need "
            f"{needed}; lower real.frames, or take a longer video"
        )
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    @cache
    def flow(a: int, b: int) -> np.ndarray:
        """Return where each pixel of frame `a` goes in frame `b`: (H, W, 2) x and y in pixels."""
        return np.asarray(dis.calc(greys[a], greys[b], np.zeros((0, 0))), np.float16)

    def make(seed: int) -> Still:
        rng = np.random.default_rng(seed)
        for _ in range(_FLOW_TRIES):
            stride = int(rng.integers(1, _LONGEST_STRIDE + 1))
            length = (config.frames - 1) * stride + 1
            first = int(rng.integers(0, len(frames) - length))
            order = list(range(first, first + length))
            if rng.random() < 0.5:
                order.reverse()
            labels = colour_regions(
                frames[order[0]], int(rng.integers(2**31)), smallest=_SMALLEST_REGION
            )
            ids = rng.permutation(np.unique(labels)[1:])[:_MOST_OBJECTS]
            labels = np.where(np.isin(labels, ids), labels, np.uint8(0))
            carried, kept = _carried(labels, order, flow)
            if kept:
                wanted = np.array(sorted(kept), np.uint8)
                picked = np.stack(carried[::stride])
                size = (config.side, config.side)
                shown = [cv2.resize(frames[k], size) for k in order[::stride]]
                truth = np.where(np.isin(picked, wanted), picked, np.uint8(0))
                return np.stack(shown), np.stack(
                    [cv2.resize(x, size, interpolation=cv2.INTER_NEAREST) for x in truth]
                )
        raise DatasetError(f"{config.video}: optical flow follows no region for a whole clip")

    return make


def _carried(
    labels: np.ndarray, order: list[int], flow: Callable[[int, int], np.ndarray]
) -> tuple[list[np.ndarray], set[int]]:
    """Carry labels from frame to frame by optical flow.

    Args:
        labels: (S, S) uint8 labels of the first frame.
        order: indices of the frames, one after the other.
        flow: returns where each pixel of one frame goes in another one.

    Returns:
        The labels of every frame of `order`, and the ids of the objects whose flow is consistent
        in all of them.
    """
    rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]].astype(np.float32)
    result, kept = [labels], {int(i) for i in np.unique(labels) if i}
    u, v = columns.copy(), rows.copy()
    for before, after in pairwise(order):
        back = flow(after, before).astype(np.float32)
        there = flow(before, after).astype(np.float32)
        x, y = columns + back[..., 0], rows + back[..., 1]
        again = cv2.remap(there, x, y, cv2.INTER_LINEAR)
        wrong = np.abs(again + back).max(axis=-1) > _INCONSISTENT
        # places in the first frame are carried, so that labels are looked up only once
        u = cv2.remap(u, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=-9)
        v = cv2.remap(v, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=-9)
        now = cv2.remap(labels, u, v, cv2.INTER_NEAREST)
        for label in list(kept):
            mask = now == label
            if not mask.any() or wrong[mask].mean() > _MOST_LOST:
                kept.discard(label)
        result.append(now)
    return result, kept
