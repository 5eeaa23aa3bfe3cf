"""The options of a run over a list of videos. Needs no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from surgsam2.errors import InputError
from surgsam2.storage.options import Options, option

EXECUTORS = ("local", "ray")
SPLITS = ("objects", "time")


@dataclass(frozen=True, kw_only=True)
class ListOptions(Options):
    """How the videos of a list are divided among processes and machines.

    Raises:
        InputError: a value cannot be used.
    """

    executor: str = option(
        "local",
        "what runs the workers: processes of this machine, or a Ray cluster (surgsam2[cluster])",
        choices=EXECUTORS,
    )
    workers: int | None = option(
        None,
        "number of processes that track; without it one per GPU, or on CPUs one per two cores",
        minimum=1,
        metavar="N",
    )
    address: str | None = option(
        None, "address of a running Ray cluster; without it Ray begins on this machine",
        metavar="ADDRESS",
    )  # fmt: skip
    chunk: int = option(
        1500, "number of frames after which what was tracked is kept for good", minimum=1,
        metavar="N",
    )  # fmt: skip
    retries: int = option(
        3, "how often a video is tried again whose worker was lost", minimum=0, metavar="N"
    )
    shard: str | None = option(
        None, "do only part I of N of the list, such as 2/8; surgsam2 merge joins the summaries",
        metavar="I/N",
    )  # fmt: skip
    split: str | None = option(
        None,
        "divide each video, for an urgent one: by objects, or by time at frames on which all "
        "objects are prompted, which is approximate",
        choices=SPLITS,
    )
    split_parts: int = option(
        2, "greatest number of parts of a divided video", minimum=2, maximum=1000, metavar="N"
    )
    cache_gb: float = option(
        64.0, "gigabytes of this machine's disk that copies of videos from elsewhere may take",
        minimum=0, metavar="N",
    )  # fmt: skip
    metrics_port: int | None = option(
        None, "TCP port of this machine for /metrics, in the text format of Prometheus",
        minimum=0, maximum=65535, metavar="N",
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shard is not None:
            self.part  # noqa: B018 - checks it

    @property
    def cache_bytes(self) -> int:
        """The value of `cache_gb` in bytes."""
        return int(self.cache_gb * 10**9)

    @property
    def part(self) -> tuple[int, int]:
        """The part of the list as numbers: which one, from 1, and how many there are."""
        if self.shard is None:
            return 1, 1
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", self.shard)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"shard must be I/N with I from 1 to N, such as 2/8, got {self.shard}")
        return int(found[1]), int(found[2])
