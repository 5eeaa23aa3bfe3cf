"""A run in chunks: each tracks some steps from the state that the chunk before it left.

A chunk is a folder with the results of its frames and the state at its end. Its files do not
change once it is complete, so that a chunk that fails is simply done again. `surgsam2.job.join`
makes one run of all chunks.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from surgsam2.errors import OutputError
from surgsam2.job.inputs import RunInputs, open_tracking
from surgsam2.outputs import ResultRecord
from surgsam2.storage.atomic_file import write_bytes_atomically, writing
from surgsam2.storage.disk_store import DiskStore
from surgsam2.storage.hashing import sha256_of

RESULTS = "results.spool"
"""The results of the chunk's frames; see `ResultRecord`."""
FIRST_PASS = "first_pass.spool"
"""The masks that the chunk adds to the backward pass of direction `both`."""
OUTPUTS = "outputs.spool"
"""What the masks of the chunk's frames are made of, in a part of a video that is split by objects;
see `surgsam2.tracking.output_store`."""
STATE = "state.pt"
"""The state of the tracking at the end of the chunk."""
_FILES = {RESULTS, FIRST_PASS, OUTPUTS, STATE}
_FOLDER = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True)
class Chunk:
    """Consecutive steps of the tracking of a video, complete and in files."""

    folder: str
    """Name of the chunk's folder."""
    first: int
    """Number of steps of its part before it."""
    last: int
    """Number of steps of its part up to its end."""
    seconds: float
    """Seconds that it took."""
    files: Mapping[str, tuple[int, str]]
    """Number of bytes and SHA-256 of each file, by name; without the files that are empty."""
    part: int = 0
    """Number of the part of the video that it belongs to; most videos have one part."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Chunk:
        """Return the chunk that `as_json` has described.

        Raises:
            ValueError: its folder or files have names that no chunk has.
        """
        files = {name: (int(size), str(check)) for name, (size, check) in value["files"].items()}
        if not _FOLDER.fullmatch(value["folder"]) or not files.keys() <= _FILES:
            raise ValueError("a chunk has files elsewhere")
        return cls(**{**value, "files": files})

    def as_json(self) -> dict[str, Any]:
        """Return the chunk as plain data."""
        return asdict(self)

    def check(self, path: Path) -> Path:
        """Check one of the chunk's files against its checksum and return its path.

        Raises:
            OutputError: the file is damaged.
        """
        size, check = self.files[path.name]
        if path.stat().st_size != size or sha256_of(path) != check:
            raise OutputError(f"{path}: the file is damaged; delete its folder to start anew")
        return path

    def opened(self, path: Path) -> DiskStore:
        """Open one of the chunk's files with results."""
        return DiskStore(path, length=self.files[path.name][0])


def track_chunk(
    inputs: RunInputs,
    before: Sequence[tuple[Chunk, Path]],
    folder: Path,
    steps: int,
    should_stop: Callable[[int], bool] = lambda done: False,
    part: int = 0,
) -> Chunk:
    """Track some steps of a video into a new folder.

    Args:
        inputs: the inputs of the run, which are checked.
        before: the chunks of the part before this one in order, each with its folder. The state of
            the last one is needed, and for direction `both` all first passes.
        folder: the folder to make.
        steps: greatest number of steps.
        should_stop: asked after every step, with the number of steps that are done; true ends
            the chunk there, which is then a shorter one.
        part: number of the part of the video, which is 0 unless `inputs` have a split.

    Returns:
        The complete chunk.

    Raises:
        OutputError: the folder cannot be written, or a file of an earlier chunk is damaged.
        VideoError: a frame cannot be read.
    """
    began = time.perf_counter()
    inputs = inputs.of_part(part)
    first = before[-1][0].last if before else 0
    with writing(folder):
        folder.mkdir(parents=True)
    with ExitStack() as resources:
        earlier = [
            resources.enter_context(closing(chunk.opened(path / FIRST_PASS)))
            for chunk, path in before
            if FIRST_PASS in chunk.files
        ]
        results = resources.enter_context(closing(DiskStore(folder / RESULTS)))
        first_pass = DiskStore(folder / FIRST_PASS, earlier=earlier)
        resources.enter_context(closing(first_pass))
        outputs = None
        if inputs.split is not None and inputs.split.objects:
            outputs = resources.enter_context(closing(DiskStore(folder / OUTPUTS)))
        state = _load(*before[-1]) if before else None
        tracking = open_tracking(inputs, first_pass, state, outputs)
        record = ResultRecord(results, inputs.video.width, inputs.video.height)
        done = 0
        with closing(tracking.run()) as frames:
            for _, result in frames:
                if result is not None:
                    record.put(result)
                done += 1
                if should_stop(done) or done == steps:
                    last = first + done
                    break
            else:  # the end, also of a video that has fewer frames than its packets say
                last = inputs.plan.steps
            state = tracking.state_dict()
        results.sync()
        first_pass.sync()
        if outputs is not None:
            outputs.sync()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes_atomically(folder / STATE, buffer.getvalue(), durable=True)
    files = {p.name: (p.stat().st_size, sha256_of(p)) for p in sorted(folder.iterdir())}
    return Chunk(folder.name, first, last, time.perf_counter() - began, files, part)


def _load(chunk: Chunk, folder: Path) -> dict[str, Any]:
    data = chunk.check(folder / STATE).read_bytes()
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)  # noqa: TID251
    return state
