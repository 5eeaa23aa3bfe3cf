"""The state of an unfinished run in its output folder, from which another process continues."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from surgsam2.errors import OutputError, raise_if_out_of_memory
from surgsam2.job.fingerprint import Identity
from surgsam2.outputs import RESUME
from surgsam2.storage.atomic_file import write_bytes_atomically, writing
from surgsam2.storage.disk_store import DiskStore
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.shape import check_shape

VERSION = 3
"""Version of the format; states of another version are refused."""
_STATE = "state.pt"
_CHECK_BYTES = 32
_SHAPE = {
    "identity": dict,
    "tracking": dict,
    "steps": int,
    "seconds": float,
    "resumed": int,
    "results_bytes": int,
    "first_pass_bytes": int,
    "updating": bool,
}
_LEAST = {"steps": 0, "seconds": 0, "resumed": -1, "results_bytes": 0, "first_pass_bytes": 0}


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two frames."""

    identity: Identity
    """Which run it is."""
    tracking: dict[str, Any]
    """The state of the tracking, from `VideoTracking.state_dict`."""
    steps: int
    """Number of frames that the tracker has run on."""
    seconds: float
    """Seconds spent, in all processes."""
    resumed: int
    """How often the run was continued; attempts that saved nothing do not count. -1 if the process
    that reads the state is the first one of the run, as for a video that was tracked in chunks."""
    results_bytes: int
    """Valid length of the record of results, in bytes."""
    first_pass_bytes: int
    """Valid length of the first pass of direction `both`, in bytes."""
    updating: bool
    """Whether the run replaces a range of frames of an earlier run's results."""


class CheckpointStore:
    """The resume folder of an output folder that is held.

    The files with results only grow; a state names the lengths that belong to it and replaces
    the state before it as a whole. So the folder is right at every moment, whenever the process
    ends.

    Args:
        output: the output folder.
    """

    def __init__(self, output: Path) -> None:
        self.folder = output / RESUME

    @property
    def record(self) -> Path:
        """The file with the results so far; see `ResultRecord`."""
        return self.folder / "results.spool"

    def exists(self) -> bool:
        """Return whether a state was saved."""
        return (self.folder / _STATE).is_file()

    def load(self) -> Checkpoint | None:
        """Return the last state that was saved; None when there is none.

        Raises:
            OutputError: the state cannot be read, is damaged, or of another version of the
                format.
        """
        path = self.folder / _STATE
        if not self.exists():
            return None
        try:
            data = path.read_bytes()
        except OSError as error:
            raise OutputError(
                f"{path}: the saved state cannot be read ({error.strerror})"
            ) from error
        try:
            check, data = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
            if _check_of(data) != check:  # torch does not notice flipped bits in tensors
                raise ValueError("checksum")
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)  # noqa: TID251
            version = content.pop("version")
            content["identity"] = parse_json(content["identity"])
            if version == VERSION:
                check_shape(content, _SHAPE)
                if any(content[name] < least for name, least in _LEAST.items()):
                    raise ValueError("a number is too low")
            state = Checkpoint(**content) if version == VERSION else None
        except Exception as error:  # a damaged file can raise anything
            raise_if_out_of_memory(error)
            raise OutputError(
                f"{path}: the saved state is damaged; start anew without resume"
            ) from error
        if state is None:
            raise OutputError(
                f"{path}: the saved state has version {version}, this program writes {VERSION}; "
                "resume with the program that began the run, or start anew without resume"
            )
        return state

    def open(self, state: Checkpoint | None, earlier_bytes: int = 0) -> tuple[DiskStore, DiskStore]:
        """Open the record of results and the first pass, as they were at a state.

        Args:
            state: the state; None begins with an empty first pass.
            earlier_bytes: length of earlier results that the record begins with, if there is no
                state.

        Raises:
            OutputError: a file cannot be written, or is damaged.
        """
        with writing(self.folder):
            self.folder.mkdir(exist_ok=True)
        first_pass = self.folder / "first_pass.spool"
        if state is None:
            length = earlier_bytes or None
            return DiskStore(self.record, length=length), DiskStore(first_pass)
        return (
            DiskStore(self.record, length=state.results_bytes),
            DiskStore(first_pass, length=state.first_pass_bytes),
        )

    def save(self, state: Checkpoint) -> None:
        """Replace the state. The files with results must be on the disk (`DiskStore.sync`).

        Raises:
            OutputError: the disk refuses; the state before is still there.
        """
        content = asdict(state) | {"identity": json.dumps(state.identity), "version": VERSION}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        data = buffer.getvalue()
        write_bytes_atomically(self.folder / _STATE, _check_of(data) + data, durable=True)


def _check_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
