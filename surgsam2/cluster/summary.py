"""The reports of a run over a list: ``summary.json``, a line of progress, a table, and metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from surgsam2.cluster.scheduler import Scheduler
from surgsam2.errors import InputError, OutputError
from surgsam2.job.datalist import SUMMARY, VideoJob
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.output_folder import PROGRAM
from surgsam2.storage.places import Place
from surgsam2.storage.shape import check_shape
from surgsam2.storage.text import one_line

_SAVE_SECONDS = 1.0
_PART = {
    "program": str,
    "status": str,
    "videos": [{"output": str, "status": str, "error?": str}],
    "workers": [dict],
    "seconds": float,
    "shard": [int],
}
"""The shape of the summary of a part of a list."""
_SHOWN_PARTS = 10
_STATES = ("waiting", "running", "complete", "failed", "quarantined")


@dataclass
class WorkerRow:
    """The state of one worker."""

    host: str
    device: str
    frames: int = 0
    """Frames that it has tracked."""
    seconds: float = 0.0
    """Seconds that this took."""
    tasks: int = 0
    """Tasks that it was given."""
    lost: int = 0
    """Number of times that its process ended and was started anew."""
    video: str = ""
    """Output name of the video that it works on; empty when it is free."""

    @property
    def rate(self) -> float:
        """Frames per second while it tracks."""
        return self.frames / self.seconds if self.seconds else 0.0


class ListSummary:
    """The state of a run over a list. One driver writes it.

    Args:
        folder: the folder that holds the folders of all videos.
        jobs: the videos.
        scheduler: knows how far each video is.
        shard: number of this part of the list, from 1, and of all parts.
        keep_names: tell the videos' paths. They may name a patient.
    """

    def __init__(
        self,
        folder: Place,
        jobs: Sequence[VideoJob],
        scheduler: Scheduler,
        shard: tuple[int, int],
        keep_names: bool,
    ) -> None:
        self._place = folder / summary_name(*shard)
        self._shard = shard
        self._names = [job.output.within(folder) for job in jobs]
        self._paths = [str(job.video) for job in jobs] if keep_names else []
        self._scheduler = scheduler
        self._began = time.monotonic()
        self._saved = 0.0
        self._left_before: float | None = None
        self.workers: dict[str, WorkerRow] = {}
        """The workers by name."""
        self.frames = [0] * len(jobs)
        """Number of frames with a result of each complete video."""
        self.tracked = 0
        """Frames that were tracked in this run."""
        self.lost = 0
        """Workers that were lost."""

    def name(self, video: int) -> str:
        """Return the output name of a video."""
        return self._names[video]

    def check(self, overwrite: bool) -> None:
        """Refuse a file of the summary's name that no earlier run wrote.

        Raises:
            OutputError: there is one, and `overwrite` is false.
        """
        data = self._place.read_bytes()
        if data is not None and not overwrite and _read(data) is None:
            raise OutputError(f"cannot write {self._place}: it is not of an earlier run; move it")

    def content(self, status: str) -> dict[str, Any]:
        """Return the content of ``summary.json``.

        Args:
            status: `running`, `complete`, `failed` or `interrupted`.
        """
        rows = []
        for index, video in enumerate(self._scheduler.videos):
            row: dict[str, Any] = {"output": self._names[index], "status": video.state}
            if self._paths:
                row["video"] = self._paths[index]
            if status == "interrupted" and video.begun and not video.is_over:
                row["status"] = "interrupted"
            if video.state == "complete":
                row["frames"] = self.frames[index]
            if video.error:
                row["error"] = video.error
            if video.attempts:
                row["tasks"] = video.attempts
            if len(video.parts) > 1:
                row["parts"] = len(video.parts)
            rows.append(row)
        content: dict[str, Any] = {"program": PROGRAM, "status": status, "videos": rows}
        if self._shard[1] > 1:
            content["shard"] = list(self._shard)
        content["workers"] = [
            {"name": name, **asdict(row), "frames_per_second": round(row.rate, 2)}
            for name, row in self.workers.items()
        ]
        content["seconds"] = round(time.monotonic() - self._began, 1)
        return content

    def save(self, status: str, *, now: bool = False) -> dict[str, Any] | None:
        """Write ``summary.json``, at most once a second unless `now` is true.

        Returns:
            What was written; None if it is not time yet.

        Raises:
            OutputError: it cannot be written.
        """
        if not now and time.monotonic() - self._saved < _SAVE_SECONDS:
            return None
        content = self.content(status)
        write_summary(self._place, content)
        self._saved = time.monotonic()
        return content

    def line(self) -> str:
        """Return one line of text that says how far the run is."""
        counts = self._counts()
        parts = [f"{counts['complete']} of {len(self._names)} videos complete"]
        parts += [f"{counts[s]} {s}" for s in ("running", "failed", "quarantined") if counts[s]]
        seconds = time.monotonic() - self._began
        parts.append(f"{self.tracked / seconds if seconds else 0:.1f} frames/s")
        left = self.seconds_left()
        if left is not None:
            parts.append(f"{left // 3600:.0f}:{left % 3600 // 60:02.0f}:{left % 60:02.0f} left")
        return ", ".join(parts)

    def seconds_left(self) -> float | None:
        """Return how long the rest takes at the present rate; None while it is not known."""
        left = sum(v.size * v.left for v in self._scheduler.videos if not v.is_over)
        if self._left_before is None:
            self._left_before = left
        done, seconds = self._left_before - left, time.monotonic() - self._began
        return seconds * left / done if done > 0 else None

    def table(self) -> Iterator[str]:
        """Yield the lines of a table of the workers."""
        rows = [("host", "device", "tasks", "lost", "frames", "frames/s", "video")]
        for row in self.workers.values():
            figures = (str(row.tasks), str(row.lost), str(row.frames), f"{row.rate:.1f}")
            rows.append((row.host, row.device, *figures, one_line(row.video)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for cells in rows:
            padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            yield "  ".join(padded).rstrip()

    def metrics(self) -> list[tuple[str, str, str, float]]:
        """Return name, kind, meaning and value of each figure for Prometheus."""
        rows: list[tuple[str, str, str, float]] = [
            (f'list_videos{{state="{state}"}}', "gauge", "Videos by state.", count)
            for state, count in self._counts().items()
        ]
        rows.append(("list_frames_total", "counter", "Frames tracked.", self.tracked))
        rows.append(("list_workers_lost_total", "counter", "Workers lost.", self.lost))
        workers = list(self.workers.values())  # the driver adds workers meanwhile
        busy = sum(bool(row.video) for row in workers)
        rows.append(("list_workers_busy", "gauge", "Workers with a task.", busy))
        rows.append(("list_workers", "gauge", "Workers that are ready.", len(workers)))
        left = self.seconds_left()
        if left is not None:
            rows.append(("list_seconds_left", "gauge", "Expected seconds to the end.", left))
        return rows

    def _counts(self) -> dict[str, int]:
        counts = dict.fromkeys(_STATES, 0)
        for video in self._scheduler.videos:
            counts[video.state] += 1
        return counts


def summary_name(part: int, parts: int) -> str:
    """Return the name of the summary of a part of a list, from 1."""
    return SUMMARY if parts == 1 else f"summary-{part}-of-{parts}.json"


def write_summary(place: Place, content: dict[str, Any]) -> None:
    """Write a summary as a whole."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    place.write_bytes(text.encode(errors="replace") + b"\n")


def join_summaries(folder: Place) -> dict[str, Any]:
    """Join the summaries of all parts of a list to one ``summary.json``.

    Args:
        folder: the folder that holds the folders of all videos.

    Returns:
        The content of the summary. Its status is `complete` if all parts are, otherwise the
        first of `running`, `interrupted` and `failed` that one of them has.

    Raises:
        InputError: there are no summaries of parts, some are missing or cannot be read, or there
            are parts of different divisions.
        OutputError: the summary cannot be written.
    """
    names = [n for n in folder.names() if n.startswith("summary-") and n.endswith(".json")]
    if not names:
        raise InputError(
            f"{folder}: no summary-I-of-N.json; give the output folder of runs with --shard"
        )
    parts = [_part(folder, name) for name in names]
    found = {tuple(part["shard"]) for part in parts}
    count = parts[0]["shard"][1]
    absent = (str(i) for i in range(1, count + 1) if (i, count) not in found)
    missing = list(islice(absent, _SHOWN_PARTS))
    if missing or len(found) != count:
        problem = f"part {', '.join(missing)} of {count} is missing"
        if any(total != count for _, total in found):
            problem = "there are summaries of different divisions; delete the old ones"
        raise InputError(f"{folder}: {problem}")
    ordered = sorted(parts, key=lambda part: part["shard"])
    content = {
        "program": PROGRAM,
        "status": joined_status(part["status"] for part in ordered),
        "videos": [row for part in ordered for row in part["videos"]],
        "workers": [row for part in ordered for row in part["workers"]],
        "seconds": max(part["seconds"] for part in ordered),
    }
    write_summary(folder / SUMMARY, content)
    return content


def _part(folder: Place, name: str) -> dict[str, Any]:
    """Return the summary of a part; raise `InputError` if the file is none."""
    part = _read((folder / name).read_bytes() or b"")
    try:
        check_shape(part, _PART)
        assert part is not None
        if name != summary_name(*part["shard"]):
            raise ValueError("its name is that of another part")
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{folder / name}: is not a summary of a part ({error}); run that part again"
        ) from error
    return part


def joined_status(states: Iterable[str]) -> str:
    """Return the status of several runs together."""
    found = set(states)
    return next((s for s in ("running", "interrupted", "failed") if s in found), "complete")


def _read(data: bytes) -> dict[str, Any] | None:
    try:
        content = parse_json(data)
    except ValueError:
        return None
    ours = isinstance(content, dict) and content.get("program") == PROGRAM
    return content if ours else None


def local_lock(folder: Place, shard: tuple[int, int]) -> Path | None:
    """Return the file that a driver locks while it works; None in a store without locks."""
    return folder.path / f".{summary_name(*shard)}.lock" if folder.is_local else None
