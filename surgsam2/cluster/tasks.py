"""The messages between the driver and its workers. All of them can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from surgsam2.cluster.scheduler import Kind
from surgsam2.job.chunks import Chunk
from surgsam2.job.datalist import VideoJob
from surgsam2.job.fingerprint import Identity, ModelRecord
from surgsam2.job.options import JobOptions, VideoOptions
from surgsam2.job.split import Split
from surgsam2.model.options import ModelOptions


@dataclass(frozen=True)
class Settings:
    """The settings that all tasks of a list have in common."""

    model: ModelOptions = field(default_factory=ModelOptions)
    job: JobOptions = field(default_factory=JobOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    cache_bytes: int = 64 * 10**9
    """Bytes that a worker's copies of files from elsewhere may take."""


@dataclass(frozen=True)
class RunRecord:
    """The facts of a video's run that are fixed once its first chunk is complete."""

    identity: Identity
    model: ModelRecord
    steps: tuple[int, ...]
    """Number of steps of the tracking of each part; most videos have one part."""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunRecord:
        """Return the record that `as_json` has described."""
        model = {**value["model"], "warnings": tuple(value["model"]["warnings"])}
        return cls(dict(value["identity"]), ModelRecord(**model), tuple(value["steps"]))


@dataclass(frozen=True)
class Task:
    """One piece of work for a worker."""

    video: int
    """Index of the video in the list."""
    kind: Kind
    job: VideoJob
    folder: str
    """Name of the folder for the new chunk; no other task has it."""
    steps: int
    """Greatest number of steps of the new chunk."""
    part: int = 0
    """Number of the part of the video that is tracked."""
    chunks: tuple[Chunk, ...] = ()
    """The chunks that are complete, in order: those of the part, or of all parts."""
    run: RunRecord | None = None
    """None while no chunk of the video is complete."""
    split: Split | None = None
    """How the video is divided into parts; None if it is not."""
    interruptions: int = 0
    """Number of interruptions of the tracking."""


@dataclass(frozen=True)
class Outcome:
    """The result of a task."""

    chunk: Chunk | None = None
    """The new chunk; None after an error and from a task that writes files."""
    run: RunRecord | None = None
    report: Mapping[str, Any] | None = None
    """The report of a video whose files are written."""
    error: str = ""
    """Why the video cannot be segmented; empty if all went well."""
    is_lost: bool = False
    """Whether another worker might do better: the worker ends, and the video is tried again."""
    stopped: bool = False
    """Whether the worker was told to stop."""
    log: str = ""
    """The lines of text that were logged meanwhile."""


@dataclass(frozen=True)
class Joined:
    """A worker is ready."""

    worker: str
    host: str
    device: str
    kinds: tuple[str, ...]
    pid: int
    """Number of its process on the host."""


@dataclass(frozen=True)
class Progressed:
    """A worker has done further frames of its task."""

    worker: str
    frames: int
    """Number of frames of the task that are done."""


@dataclass(frozen=True)
class Ended:
    """A worker has ended its task."""

    worker: str
    outcome: Outcome


@dataclass(frozen=True)
class Lost:
    """A worker has ended."""

    worker: str
    reason: str
    error: Exception | None = None
    """The error that kept it from starting, which others would meet too."""


Event = Joined | Progressed | Ended | Lost
