"""Training samples: a few frames of a sequence with a few of its objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surgsam2.data.sequence import Sequence
from surgsam2.errors import DatasetError, InputError


@dataclass(frozen=True, eq=False)
class Sample:
    """T frames and the masks of N objects."""

    name: str
    """Name of the sequence."""
    frame_indices: tuple[int, ...]
    """T indices in the sequence, ascending, or descending when reversed."""
    object_ids: tuple[int, ...]
    """N ids; every one is visible in the first of the frames."""
    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB."""
    labels: np.ndarray
    """(T, H, W) uint16: 0, or one of `object_ids` (other objects are removed)."""

    @property
    def masks(self) -> np.ndarray:
        """(T, N, H, W) bool."""
        ids = np.array(self.object_ids, np.uint16)[None, :, None, None]
        return np.asarray(self.labels[:, None] == ids)

    def __repr__(self) -> str:
        t, h, w = self.labels.shape
        return f"Sample({self.name!r}, {t} frames of {w}x{h}, objects {self.object_ids})"


def draw_sample(
    sequence: Sequence,
    seed: int | tuple[int, ...],
    *,
    frames: int = 8,
    max_objects: int = 3,
    reverse: float = 0.5,
    stride: int = 1,
) -> Sample:
    """Draw consecutive annotated frames of a sequence and some of their objects.

    As in SAM 2's training, the start is uniform over the places where the frames fit, and
    objects are drawn uniformly among those visible in the first drawn frame. Frames without
    annotation are not drawn. Of a sequence with fewer annotated frames the last one is
    repeated, so that a still image becomes a video in which nothing moves.

    Args:
        sequence: where the frames come from.
        seed: the same sequence and seed give the same sample.
        frames: number of frames.
        max_objects: largest number of objects.
        reverse: probability that the frames run backward in time.
        stride: distance of two drawn frames, counted in annotated frames.

    Raises:
        InputError: a number is out of its range.
        DatasetError: no frame that could start the sample shows an object.
    """
    for name, value in (("frames", frames), ("max_objects", max_objects), ("stride", stride)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if not 0.0 <= reverse <= 1.0:
        raise InputError(f"reverse must be a probability, got {reverse}")
    rng = np.random.default_rng(seed)
    annotated = list(sequence.annotated)
    span = (frames - 1) * stride + 1
    starts = rng.permutation(max(len(annotated) - span + 1, 1))
    backwards = len(annotated) > 1 and rng.random() < reverse
    for start in starts:
        chosen = annotated[int(start) : int(start) + span : stride]
        if backwards:
            chosen.reverse()
        visible = visible_ids(sequence, chosen[0])
        if len(visible):
            break
    else:
        raise DatasetError(f"no frame of {sequence.name} that could start a sample shows an object")
    count = min(max_objects, len(visible))
    ids = np.sort(rng.choice(visible, count, replace=False))
    chosen += [chosen[-1]] * (frames - len(chosen))
    return _load(sequence, tuple(chosen), tuple(int(i) for i in ids))


def visible_ids(sequence: Sequence, index: int) -> np.ndarray:
    """Return the ids of the objects in an annotated frame, ascending."""
    labels = sequence.read_labels(index)
    if labels is None:
        return np.zeros(0, np.uint16)
    ids = np.unique(labels)
    return np.asarray(ids[ids > 0])


def _load(sequence: Sequence, indices: tuple[int, ...], ids: tuple[int, ...]) -> Sample:
    read: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for index in indices:
        if index in read:
            continue
        frame, labels = sequence.read(index)
        if labels is None or labels.shape != frame.shape[:2]:
            raise DatasetError(f"{sequence.name}: labels of frame {index} do not fit the frame")
        read[index] = frame, np.where(np.isin(labels, ids), labels, np.uint16(0))
    sizes = {labels.shape for _, labels in read.values()}
    if len(sizes) > 1:
        raise DatasetError(f"{sequence.name}: frames of different sizes {sorted(sizes)}")
    return Sample(
        name=sequence.name,
        frame_indices=indices,
        object_ids=ids,
        frames=np.stack([read[i][0] for i in indices]),
        labels=np.stack([read[i][1] for i in indices]),
    )
