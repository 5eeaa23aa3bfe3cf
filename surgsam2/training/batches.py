"""Batches of clips, each of which follows from the seed and the number of its step alone.

A resumed run therefore sees the batches of an uninterrupted one without any saved state.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from surgsam2.data import (
    LAYOUTS,
    Augmentation,
    EndoVis17,
    EndoVis18,
    ImageDataset,
    Sample,
    SurgicalDataset,
    VOSDataset,
    draw_sample,
)
from surgsam2.data import Sequence as VideoSequence
from surgsam2.data.augment import AugmentStrengths
from surgsam2.errors import DatasetError, InputError
from surgsam2.model.build import MEAN, STD
from surgsam2.training.clip_cache import build_cache
from surgsam2.training.config import SourceConfig
from surgsam2.training.out_of_sight import look_away
from surgsam2.training.real_clips import build_real_clips
from surgsam2.training.rollout import ClipBatch

logger = logging.getLogger(__name__)

ClipSample = tuple[np.ndarray, np.ndarray, tuple[int, ...]]
"""(T, S, S, 3) uint8 frames, (T, S, S) labels, and object ids."""

_TRIES = 10
"""Number of draws before a clip with too few objects is used, or unusable data stops the run."""


def open_source(config: SourceConfig) -> list[VideoSequence]:
    """Open the sequences of a source; files that cannot be used are left out and logged.

    Raises:
        DatasetError: nothing can be used.
        InputError: the source has no path.
    """
    if not config.path:
        raise InputError(f"a data source of kind {config.kind} needs a path")
    if config.kind == "synthetic":
        return list(build_cache(config.path, config.synthetic))
    if config.kind == "real":
        if config.real is None:
            raise InputError("a data source of kind real needs the settings real")
        return list(build_real_clips(config.path, config.real))
    if config.kind == "vos":
        return list(VOSDataset(config.path, config.sequences))
    if config.kind == "images":
        return list(ImageDataset(Path(config.path, "images"), Path(config.path, "masks")))
    if config.kind in LAYOUTS:
        return list(SurgicalDataset(config.path, config.kind))
    return list((EndoVis17 if config.kind == "endovis17" else EndoVis18)(config.path))


class ClipBatches(TorchDataset[ClipBatch]):
    """The batches of a run; item k is the batch of step k, counted from 0 over the whole run.

    Args:
        sources: the sources with their sequences; they take turns by their `share`.
        augment: strengths of the augmentation.
        size: side of the network's square input in pixels.
        seed: decides every random number.
        rank: number of this process; every process has batches of its own.
        world: number of processes.

    Raises:
        InputError: there is no source.
    """

    def __init__(
        self,
        sources: Sequence[tuple[SourceConfig, Sequence[VideoSequence]]],
        augment: AugmentStrengths,
        size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not sources:
            raise InputError("data is empty: name at least one source to train on")
        self._sources = sources
        self._turns = [k for k, (config, _) in enumerate(sources) for _ in range(config.share)]
        self._augment = Augmentation(size=size, **asdict(augment))
        self._seed = seed
        self._rank, self._world = rank, world
        self.unusable: set[str] = set()
        """Sequences that could not be read when they were drawn."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps that show every sequence of the first source once."""
        config, sequences = self._sources[0]
        rounds = -(-len(sequences) // (config.batch * self._world * config.share))
        return rounds * len(self._turns)

    def __getitem__(self, step: int) -> ClipBatch:
        """Draw the batch of a step.

        Raises:
            DatasetError: no usable clip is found.
        """
        source = self._turns[step % len(self._turns)]
        config, sequences = self._sources[source]
        samples, names = [], []
        for slot in range(config.batch):
            place = self._place(step, source) * config.batch * self._world
            place += self._rank * config.batch + slot
            sample, name = self._draw(config, sequences, (self._seed, source, place))
            samples.append(sample)
            names.append(name)
        return collate(samples, names)

    def _place(self, step: int, source: int) -> int:
        """Return how many batches this source has given before `step`."""
        rounds, turn = divmod(step, len(self._turns))
        return rounds * self._turns.count(source) + self._turns[:turn].count(source)

    def _draw(
        self, config: SourceConfig, sequences: Sequence[VideoSequence], key: tuple[int, int, int]
    ) -> tuple[ClipSample, str]:
        """Draw until a clip has enough objects; otherwise take that with the most of them.

        Args:
            config: settings of the source.
            sequences: the sequences of the source.
            key: the seed, the number of the source, and that of the clip among the source's.

        Returns:
            The clip, and what it was drawn from.

        Raises:
            DatasetError: no draw gave an object.
        """
        spare = None
        for attempt in range(_TRIES):
            sequence = sequences[self._index(len(sequences), key, attempt)]
            try:
                sample = _sample(sequence, config, (*key, attempt))
            except DatasetError as error:
                self._note(sequence.name, error)
                continue
            drawn = self._augment.draw((*key, attempt, 1))
            frames, labels = drawn.apply(sample.frames, sample.labels)
            aside = np.random.default_rng((*key, attempt, 6))
            if aside.random() < config.away:
                frames, labels = look_away(frames, labels, aside)
            objects = _large_enough(labels[0], sample.object_ids, config.min_area)
            frame_numbers = ", ".join(str(i) for i in dict.fromkeys(sample.frame_indices))
            found = (frames, labels, objects), f"{sample.name} (frames {frame_numbers})"
            if len(objects) >= config.min_objects:
                return found
            if objects and (spare is None or len(objects) > len(spare[0][2])):
                spare = found
        if spare is None:
            raise DatasetError(
                f"no usable clip in {_TRIES} draws; unreadable so far: "
                f"{', '.join(sorted(self.unusable)) or 'none, but no object was large enough'}"
            )
        return spare

    def _index(self, count: int, key: tuple[int, int, int], attempt: int) -> int:
        """Return which sequence to draw from; first attempts take each once, in random order."""
        seed, source, place = key
        if attempt:
            return int(np.random.default_rng((seed, source, place, attempt, 2)).integers(count))
        epoch, index = divmod(place, count)
        return int(np.random.default_rng((seed, source, epoch, 3)).permutation(count)[index])

    def _note(self, name: str, error: DatasetError) -> None:
        """Warn of a sequence that cannot be read, once."""
        if name not in self.unusable:
            self.unusable.add(name)
            names = ", ".join(sorted(self.unusable))
            logger.warning("%s; %d skipped so far: %s", error, len(self.unusable), names)


def batches_from(dataset: ClipBatches, first: int, last: int, workers: int) -> Iterator[ClipBatch]:
    """Return the batches of steps `first` to `last` - 1, loaded by `workers` processes."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        collate_fn=_as_is,
        pin_memory=workers > 0 and torch.cuda.is_available(),
    )
    return iter(loader)


def collate(samples: Sequence[ClipSample], names: Sequence[str] = ()) -> ClipBatch:
    """Make a batch of clips of one size and length.

    Args:
        samples: the clips.
        names: what each clip was drawn from.
    """
    frames = torch.from_numpy(np.stack([s[0] for s in samples], axis=1))
    masks = [labels[:, None] == _column(ids) for _, labels, ids in samples]
    owners = [torch.full((len(ids),), row) for row, (_, _, ids) in enumerate(samples)]
    return ClipBatch(
        normalise(frames),
        torch.from_numpy(np.concatenate(masks, axis=1)),
        torch.cat(owners),
        tuple(names),
    )


def normalise(frames: torch.Tensor) -> torch.Tensor:
    """Convert (..., S, S, 3) uint8 RGB to (..., 3, S, S) float32, normalised as for SAM 2."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((frames.float() / 255.0 - mean) / std).movedim(-1, -3).contiguous()


def _sample(sequence: VideoSequence, config: SourceConfig, seed: tuple[int, ...]) -> Sample:
    """Draw frames of a sequence at a random distance, or one frame that is repeated."""
    rng = np.random.default_rng((*seed, 4))
    most = config.stride
    if config.frames > 1:
        most = min(most, max((len(sequence.annotated) - 1) // (config.frames - 1), 1))
    sample = draw_sample(
        sequence,
        seed,
        frames=1 if config.still else config.frames,
        max_objects=config.max_objects,
        reverse=config.reverse,
        stride=int(rng.integers(1, most + 1)),
    )
    if not config.still:
        return sample
    return Sample(
        sample.name,
        sample.frame_indices * config.frames,
        sample.object_ids,
        np.repeat(sample.frames, config.frames, axis=0),
        np.repeat(sample.labels, config.frames, axis=0),
    )


def _large_enough(labels: np.ndarray, ids: tuple[int, ...], share: float) -> tuple[int, ...]:
    """Return the ids of objects that cover at least a share of (S, S) labels, and one pixel."""
    needed = max(share * labels.size, 1)
    return tuple(i for i in ids if np.count_nonzero(labels == i) >= needed)


def _column(ids: tuple[int, ...]) -> np.ndarray:
    """Return ids as (1, O, 1, 1) uint16, to be compared with (T, 1, S, S) labels."""
    return np.array(ids, np.uint16)[None, :, None, None]


def _as_is(batch: Any) -> Any:
    """Return a batch without the conversion that `DataLoader` makes by default."""
    return batch
