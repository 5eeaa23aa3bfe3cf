"""Record of what was wrong with the data and of how the scores count it.

Nothing is left out of a score without an entry here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COUNTED = {
    "missing-frame": "counted as an empty mask for every object",
    "missing-sequence": "counted as empty masks on every frame",
    "unexpected-frame": "not counted: the truth has no frame of this name",
    "unexpected-sequence": "not counted: the truth has no sequence of this name",
    "prompt-vanishes": "counted as empty masks of this object",
    "extra-object": "not counted in J, F and Dice; counted in ISI IoU and mean class IoU as a "
    "class that the truth does not have",
    "size-mismatch": "counted as a missing frame",
    "resized": "resized to the size of the truth (nearest neighbour), then counted",
    "not-indexed": "counted as a missing frame",
    "grey-rgb": "its grey value was read as the object id, then counted",
    "sixteen-bit": "its 16-bit values were read as object ids, then counted",
    "unreadable": "counted as a missing frame",
    "stray-file": "not counted: it lies beside the folders of the sequences",
    "truth-unreadable": "frame left out of every score",
    "truth-size": "frame left out of every score",
    "void": "taken as background, as DAVIS does",
    "truth-skipped": "left out of every score while opening the dataset",
    "not-counted": "left out of the averages: no annotated frame remains",
    "no-object": "left out: there is nothing to score",
    "absent-sequence": "not counted: the split has it and the dataset does not",
}
"""Kind of problem -> how the scores treat it."""


@dataclass
class Problems:
    """Collection of problems. Equal problems of several frames become one entry."""

    _found: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    def add(self, kind: str, sequence: str, message: str, frame: str = "") -> None:
        """Add a problem of one frame, or of a whole sequence when `frame` is empty.

        Raises:
            KeyError: `kind` is not a key of `COUNTED`.
        """
        if kind not in COUNTED:
            raise KeyError(kind)
        frames = self._found.setdefault((kind, sequence, message), [])
        if frame:
            frames.append(frame)

    def add_stray_files(self, paths: Iterable[Path], folder: str) -> None:
        """Add label PNGs that lie beside the folders of the sequences and belong to none."""
        for path in paths:
            self.add("stray-file", folder, "PNG beside the folders of the sequences", path.stem)

    def as_list(self) -> list[dict[str, Any]]:
        """Return entries with kind, sequence, message, treatment in the scores, and frames."""
        return [
            {
                "kind": kind,
                "sequence": sequence,
                "message": message,
                "counted": COUNTED[kind],
                "frames": frames,
            }
            for (kind, sequence, message), frames in self._found.items()
        ]
