"""What was wrong with the data, and how it was counted. Nothing is dropped in silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from surgsam2.data.label_reader import LabelFolders

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
"""Kind of problem -> what the score does with it."""


@dataclass
class Problems:
    """Collects problems; equal ones of many frames become one entry."""

    _found: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    def add(self, kind: str, sequence: str, message: str, frame: str = "") -> None:
        """Note a problem of a kind in `COUNTED`, for one frame or a whole sequence."""
        if kind not in COUNTED:
            raise KeyError(kind)
        frames = self._found.setdefault((kind, sequence, message), [])
        if frame:
            frames.append(frame)

    def add_stray_files(self, labels: LabelFolders, sequence: str) -> None:
        """Note the label PNGs that belong to no sequence."""
        for path in labels.stray:
            message = "PNG beside the folders of the sequences"
            self.add("stray-file", sequence, message, path.stem)

    def as_list(self) -> list[dict[str, Any]]:
        """Entries with kind, sequence, message, how it was counted, and the frames."""
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
