"""Evaluation protocols: which sequences and classes are evaluated, and how scores are counted.

* ``vos``: Any dataset with DAVIS' folders. Every sequence is evaluated; objects are told
  apart by their ids.
* ``endovis17`` and ``endovis18``: The EndoVis instrument benchmarks with the published
  splits. The splits are data files in ``splits/``, which name their sources.
* The names of `surgsam2.data.LAYOUTS`: public datasets as they are published, all sequences.
* ``returns``: Generated sequences whose objects disappear and come back (see `returns`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from surgsam2.data import LAYOUTS
from surgsam2.errors import DatasetError, InputError
from surgsam2.evaluation.metrics.conventions import ALL, CLASS_SCORES, DAVIS, SCORES, SURGSAM2
from surgsam2.storage.json_text import parse_json

ProtocolName = Literal[
    "vos",
    "endovis17",
    "endovis18",
    "returns",
    "cholecseg8k",
    "dsad",
    "robust-mis",
    "sar-rarp50",
    "endoscapes",
]
PROTOCOL_NAMES: tuple[ProtocolName, ...] = get_args(ProtocolName)

COUNTING = (
    "Each object is prompted once, on the first annotated frame where it appears. All "
    "objects of a sequence are tracked together, forward to the end.",
    "J, F and Dice are averaged over the counted frames of an object, then over objects. A "
    "frame where neither truth nor prediction has the object scores 1, as in the DAVIS tool.",
    "Three conventions say which annotated frames count. davis: all of the sequence but its "
    "first and last, also before the object appears. surgsam2: from the object's prompt on, "
    "without the first (the prompt) and the last, as the SurgSAM2 release counts. all: all. "
    "An object without a counted frame is left out of the average.",
    "Challenge IoU: mean over frames of the mean IoU of what the truth shows. ISI IoU: the "
    "same over what truth or prediction shows. Mean class IoU: mean over classes of the "
    "mean over the frames where truth or prediction has the class. Frames where nothing "
    "is to be averaged do not count.",
    "A missing prediction counts as an empty mask.",
)


@dataclass(frozen=True)
class Protocol:
    """Sequences, classes and counting convention of an evaluation."""

    name: ProtocolName
    title: str
    splits: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Split name -> sequence numbers. Without splits, every sequence of a dataset is taken."""
    default_split: str | None = None
    class_names: dict[int, str] = field(default_factory=dict)
    """Class number -> name; empty where objects have no classes."""
    convention: str = DAVIS.name
    """Name of the convention in `CONVENTIONS` that reports show first."""

    def choose(self, names: Iterable[str], split: str | None) -> tuple[list[str], list[str]]:
        """Choose the sequences of a split.

        A split lists numbers. The number of a sequence is the last one in its name
        (``seq_2``, ``instrument_dataset_2``); names without a number are in no split.

        Args:
            names: Names of the sequences in the dataset.
            split: Name of the split; None takes the protocol's default.

        Returns:
            The names of the chosen sequences, and descriptions of those that the split has
            and the dataset lacks.

        Raises:
            InputError: The split is unknown.
            DatasetError: No sequence of the split is there, or two sequences have the same
                number of the split (such as the training and the test part of EndoVis 2017
                in one folder), of which published splits mean only one.
        """
        names = list(names)
        split = split or self.default_split
        if not self.splits:
            if split is not None:
                raise InputError(f"protocol {self.name} has no splits, got {split!r}")
            return names, []
        if split not in self.splits:
            raise InputError(
                f"split must be one of {', '.join(self.splits)} for protocol {self.name}, "
                f"got {split!r}"
            )
        wanted = self.splits[split]
        found: dict[int, str] = {}
        for name in names:
            number = sequence_number(name)
            if number in wanted and number in found:
                raise DatasetError(
                    f"sequences {found[number]} and {name} are both number {number} of split "
                    f"{split}: give the folder of one part of the data, or name the sequences"
                )
            if number is not None:
                found[number] = name
        chosen = [found[number] for number in wanted if number in found]
        if not chosen:
            raise DatasetError(
                f"no sequence of split {split} ({', '.join(map(str, wanted))}) is in the data, "
                f"which has {', '.join(names) or 'none'}"
            )
        return chosen, [f"sequence {number}" for number in wanted if number not in found]


def sequence_number(name: str) -> int | None:
    """Return the last number in a sequence's name, or None without a number."""
    numbers = re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else None


def get_protocol(name: str) -> Protocol:
    """Return a protocol by name.

    Raises:
        InputError: The name is not one of `PROTOCOL_NAMES`.
    """
    if name == "vos":
        return Protocol("vos", "VOS (DAVIS)")
    if name == "endovis17":
        return _endovis("endovis17", "EndoVis 2017")
    if name == "endovis18":
        return _endovis("endovis18", "EndoVis 2018")
    if name == "returns":
        return Protocol("returns", "Returns after an absence", default_split="quick")
    if name in LAYOUTS and name in PROTOCOL_NAMES:
        layout = LAYOUTS[name]
        # The pictures of ROBUST-MIS are single ones, of which no frame may be left out.
        convention = ALL.name if name == "robust-mis" else DAVIS.name
        classes = layout.class_names
        return Protocol(name, layout.title, class_names=classes, convention=convention)
    raise InputError(f"protocol must be one of {', '.join(PROTOCOL_NAMES)}, got {name!r}")


@lru_cache(maxsize=4)
def load_split_file(name: str) -> dict[str, Any]:
    """Return the content of ``splits/<name>.json``."""
    path = Path(__file__).parent / "splits" / f"{name}.json"
    data: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
    return data


def published_results(protocol: str, split: str | None) -> list[dict[str, Any]]:
    """Return the published results for a protocol and split, each with its source."""
    entries = load_split_file("published")["entries"]
    for entry in entries:
        check_published(entry)
    return [e for e in entries if e["protocol"] == protocol and e.get("split") == split]


def check_published(entry: dict[str, Any]) -> None:
    """Check that a published result names its document, table and page.

    Raises:
        InputError: A part of the source is missing, or a score is not a known fraction.
    """
    missing = [k for k in ("name", "source", "table", "page", "scores") if not entry.get(k)]
    if missing:
        raise InputError(f"published entry {entry.get('name')!r} lacks {', '.join(missing)}")
    known = {*SCORES, *CLASS_SCORES}
    wrong = [k for k, v in entry["scores"].items() if k not in known or not 0 <= v <= 1]
    if wrong:
        raise InputError(
            f"published entry {entry['name']!r}: scores are fractions 0..1 named "
            f"{', '.join(sorted(known))}; got {', '.join(wrong)}"
        )


def _endovis(name: Literal["endovis17", "endovis18"], title: str) -> Protocol:
    data = load_split_file(name)
    return Protocol(
        name,
        title,
        splits={split: tuple(entry["sequences"]) for split, entry in data["splits"].items()},
        default_split=data["default"],
        class_names={int(number): text for number, text in data["classes"].items()},
        convention=SURGSAM2.name,
    )
