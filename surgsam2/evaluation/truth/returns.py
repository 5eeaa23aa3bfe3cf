"""Generated sequences with objects that disappear and come back, for the protocol `returns`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from surgsam2.data.label_reader import LabelFile
from surgsam2.data.synthetic import EVENTS, Event, ReturnClip
from surgsam2.errors import InputError
from surgsam2.evaluation.truth.datasets import Truth
from surgsam2.evaluation.truth.sequences import SequenceVideo, TruthSequence

SPLITS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "quick": ((10, 50), (3, 5)),
    "full": ((10, 50, 200), (3, 5, 8, 13, 21, 34)),
}
"""Split -> lengths of the absences in frames, and seeds of the clips. Each has every event."""
DEFAULT_SPLIT = "quick"


def open_returns(split: str | None = None, only: Sequence[str] | None = None) -> Truth:
    """Open the generated sequences of a split, or those with the given names.

    A sequence is named EVENT-ABSENCE-SEED, such as ``leave-50-3``. Frames are rendered when
    they are read.

    Args:
        split: ``quick`` (the default) or ``full``.
        only: Names of sequences, of any absence and seed, instead of a split.

    Raises:
        InputError: A split or a name is unknown.
    """
    if only:
        return Truth([_as_truth(_clip_of(name)) for name in dict.fromkeys(only)], {})
    split = split or DEFAULT_SPLIT
    if split not in SPLITS:
        raise InputError(
            f"split must be one of {', '.join(SPLITS)} for protocol returns, got {split!r}"
        )
    absences, seeds = SPLITS[split]
    chosen = product(EVENTS, absences, seeds)
    return Truth([_as_truth(ReturnClip(seed, event, n)) for event, n, seed in chosen], {})


def parse_name(name: str) -> tuple[str, int, int]:
    """Return event, absence in frames and seed of a sequence's name.

    Raises:
        InputError: The name is not one of this protocol.
    """
    event, _, rest = name.partition("-")
    absence, _, seed = rest.partition("-")
    if event not in EVENTS or not (absence.isdecimal() and seed.isdecimal()):
        raise InputError(
            f"sequence {name!r} is not EVENT-ABSENCE-SEED with an event of {', '.join(EVENTS)}, "
            "such as leave-50-3"
        )
    return event, int(absence), int(seed)


def _clip_of(name: str) -> ReturnClip:
    event, absence, seed = parse_name(name)
    known: dict[str, Event] = {known: known for known in EVENTS}
    return ReturnClip(seed, known[event], absence)


def _as_truth(clip: ReturnClip) -> TruthSequence:
    return TruthSequence(
        clip.name,
        tuple(f"{i:05d}" for i in range(clip.frame_count)),
        lambda index: LabelFile(clip.labels(index)),
        lambda: SequenceVideo(clip.name, clip.frame_count, clip.read_frame),
        names=clip.object_names,
        shape=(clip.height, clip.width),
    )
