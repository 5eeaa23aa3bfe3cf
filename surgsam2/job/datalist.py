"""Segment many videos in one run, each independently of the others.

The videos stand in a JSON file, the datalist. It is a list of
``{"video": …, "prompts": …, "output": …}``: the path of the video, the path of its prompt file,
and the name of the folder for its results inside one output folder.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

from surgsam2.errors import InputError, OutputError, SurgSAM2Error
from surgsam2.job.names import hide_names
from surgsam2.storage.atomic_file import write_text_atomically, writing
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.output_folder import PROGRAM
from surgsam2.storage.text import one_line

logger = logging.getLogger(__name__)

SUMMARY = "summary.json"
_KEYS = ("video", "prompts", "output")


class FailedJobsError(SurgSAM2Error, RuntimeError):
    """Some of the videos of a list were not segmented."""


@dataclass(frozen=True)
class VideoJob:
    """One video that is to be segmented."""

    video: Path
    """The video file, or the folder of its frames."""
    prompts: Path
    """The prompt file."""
    output: Path
    """The folder for the results."""


def read_datalist(
    path: Path | str, output_dir: Path | str, dataset_dir: Path | str | None = None
) -> list[VideoJob]:
    """Read a datalist.

    Args:
        path: the datalist, a JSON file.
        output_dir: the folder that will hold a folder for each video.
        dataset_dir: the folder that relative paths of videos and prompt files start from; None
            takes the folder of the datalist.

    Returns:
        One job per entry, in the order of the list.

    Raises:
        InputError: the list cannot be read, an entry has other keys or values, an output is not
            inside `output_dir`, or two outputs are the same folder or one is inside the other.
    """
    path = Path(path)
    base = path.parent if dataset_dir is None else Path(dataset_dir)
    try:
        entries = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the datalist cannot be read ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: a datalist is a list of one or more {{{', '.join(_KEYS)}}}")
    for number, entry in enumerate(entries):
        _check_entry(f"{path}, entry {number}", entry)
    _check_outputs(path, [entry["output"] for entry in entries])
    return [
        VideoJob(base / entry["video"], base / entry["prompts"], Path(output_dir) / entry["output"])
        for entry in entries
    ]


def _check_entry(where: str, entry: Any) -> None:
    if not isinstance(entry, dict) or set(entry) != set(_KEYS):
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else repr(entry)
        raise InputError(f"{where}: must have exactly {', '.join(_KEYS)}, got {found}")
    for key in _KEYS:
        if not isinstance(entry[key], str) or not entry[key]:
            raise InputError(f"{where}: {key} must be text, got {entry[key]!r}")
    output = PurePath(entry["output"])
    # "." has no parts: the folder itself, which is no job's
    if output.anchor or ".." in output.parts or not output.parts:
        raise InputError(
            f"{where}: output {entry['output']!r} must be a name inside the output folder"
        )
    if output.parts[0].casefold() == SUMMARY:
        raise InputError(f"{where}: the output must not be called {SUMMARY}")


def _check_outputs(path: Path, names: list[str]) -> None:
    # Some file systems do not tell upper from lower case. Sorting puts a folder right before
    # the first of the folders inside it.
    folders = sorted((PurePath(name.casefold()).parts, i) for i, name in enumerate(names))
    for (outer, i), (inner, k) in pairwise(folders):
        if inner[: len(outer)] == outer:
            i, k = sorted((i, k))  # noqa: PLW2901
            raise InputError(
                f"{path}, entries {i} and {k}: outputs {names[i]!r} and {names[k]!r} would be "
                "the same folder, or one in the other; give each its own"
            )


def run_jobs(
    jobs: list[VideoJob],
    output_dir: Path | str,
    segment: Callable[[VideoJob], dict[str, Any]],
    *,
    overwrite: bool = False,
    keep_names: bool = False,
) -> dict[str, Any]:
    """Segment the videos one after the other; one that fails does not stop the others.

    The file summary.json in `output_dir` says at any time how far the run is. Its `status` is
    `running`, `complete`, `failed` or `interrupted`. Each video has a status too, which can also
    be `waiting`.

    Args:
        jobs: the videos, from `read_datalist`.
        output_dir: the folder for summary.json.
        segment: segments one video and returns its report, as `segment_to_folder` does.
        overwrite: replace a summary.json that no earlier run wrote.
        keep_names: write the videos' paths into the summary. They may name a patient.

    Returns:
        The content of summary.json.

    Raises:
        FailedJobsError: at least one video failed. It is raised after all have been tried.
        KeyboardInterrupt: a video was interrupted. Those after it were not begun.
        OutputError: the folder cannot be written.
    """
    path = Path(output_dir) / SUMMARY
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not overwrite and not _is_ours(path):
        raise OutputError(f"cannot write {path}: it is not of an earlier run; move it away")
    rows: list[dict[str, Any]] = [
        {"output": job.output.relative_to(output_dir).as_posix(), "status": "waiting"}
        | ({"video": str(job.video)} if keep_names else {})
        for job in jobs
    ]
    summary: dict[str, Any] = {"program": PROGRAM, "status": "running", "videos": rows}
    for job, row in zip(jobs, rows, strict=True):
        row["status"] = "running"
        _save(path, summary)
        try:
            report = segment(job)
            row["status"] = report["status"]
            row["frames"] = report["timings"]["frames"]
        except KeyboardInterrupt:
            row["status"] = "interrupted"
        except Exception as error:  # whatever it is, the next video is tried
            row["status"] = "failed"
            words = {
                job.video: "the video",
                job.prompts: "the prompt file",
                job.output: "the output folder",
            }
            text = str(error) if keep_names else hide_names(str(error), words)
            row["error"] = one_line(text)
            if isinstance(error, SurgSAM2Error):
                logger.error("%s: %s", row["output"], error)
            else:
                logger.exception("%s: unexpected error", row["output"])
        if row["status"] == "interrupted":
            break
    states = {row["status"] for row in rows}
    summary["status"] = next((s for s in ("interrupted", "failed") if s in states), "complete")
    _save(path, summary)
    if summary["status"] == "interrupted":
        raise KeyboardInterrupt
    if summary["status"] == "failed":
        failed = [row["output"] for row in rows if row["status"] == "failed"]
        raise FailedJobsError(
            f"{len(failed)} of {len(rows)} videos failed ({', '.join(failed)}); see {path}"
        )
    return summary


def _save(path: Path, summary: dict[str, Any]) -> None:
    text = json.dumps(summary, indent=2, ensure_ascii=False)
    write_text_atomically(path, text.encode(errors="replace").decode() + "\n")


def _is_ours(path: Path) -> bool:
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("program") == PROGRAM
