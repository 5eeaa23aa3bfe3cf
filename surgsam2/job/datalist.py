"""The list of the videos of a run that segments many.

The videos stand in a JSON file, the datalist. It is a list of
``{"video": …, "prompts": …, "output": …}``: the path of the video, the path of its prompt file,
and the name of the folder for its results inside one output folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.job.names import hide_names
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.places import Place, scheme_of

SUMMARY = "summary.json"
LOGS = "logs"
RESERVED = (SUMMARY, LOGS)
"""Names in the output folder that no video may have."""
SHOWN_PROBLEMS = 10
"""Greatest number of problems that one message names."""
_KEYS = ("video", "prompts", "output")


class FailedJobsError(SurgSAM2Error, RuntimeError):
    """Some of the videos of a list were not segmented."""


@dataclass(frozen=True)
class VideoJob:
    """One video that is to be segmented."""

    video: Place
    """The video file, or the folder of its frames."""
    prompts: Place
    """The prompt file."""
    output: Place
    """The folder for the results."""


def read_datalist(
    path: Path | str, output_dir: Place | Path | str, dataset_dir: Place | Path | str | None = None
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
            The message names up to `SHOWN_PROBLEMS` of these problems.
    """
    path, outputs = Path(path), Place.of(output_dir)
    base = Place.of(path.parent if dataset_dir is None else dataset_dir)
    try:
        entries = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the datalist cannot be read ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: a datalist is a list of one or more {{{', '.join(_KEYS)}}}")
    problems, names = [], {}
    for number, entry in enumerate(entries):
        try:
            _check_entry(f"entry {number}", entry)
            names[number] = entry["output"]
        except SurgSAM2Error as error:
            problems.append(str(error))
    refuse_all(f"{path}, ", [*problems, *_colliding(names)])
    return [
        VideoJob(base / entry["video"], base / entry["prompts"], outputs / entry["output"])
        for entry in entries
    ]


def refuse_all(start: str, problems: list[str]) -> None:
    """Raise one `InputError` for several problems; do nothing if there are none.

    Args:
        start: the beginning of the message.
        problems: one sentence each.
    """
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        text = "; ".join(problems[:SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
        raise InputError(f"{start}{text}")


def _check_entry(where: str, entry: Any) -> None:
    if not isinstance(entry, dict) or set(entry) != set(_KEYS):
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else repr(entry)
        raise InputError(f"{where}: must have exactly {', '.join(_KEYS)}, got {found}")
    for key in _KEYS:
        if not isinstance(entry[key], str) or not entry[key]:
            raise InputError(f"{where}: {key} must be text, got {entry[key]!r}")
    output = PurePath(entry["output"])
    # "." has no parts: the folder itself, which is no job's
    leaves = output.anchor or scheme_of(entry["output"]) or ".." in output.parts
    if leaves or not output.parts:
        raise InputError(
            f"{where}: output {entry['output']!r} must be a name inside the output folder"
        )
    if output.parts[0].casefold() in RESERVED:
        raise InputError(f"{where}: the output must not be called {output.parts[0].casefold()}")
    for key in ("video", "prompts"):
        if scheme_of(entry[key]):
            Place.of(entry[key])


def _colliding(names: Mapping[int, str]) -> Iterator[str]:
    # Some file systems do not tell upper from lower case. Sorting puts a folder right before
    # the first of the folders inside it.
    folders = sorted((PurePath(name.casefold()).parts, i) for i, name in names.items())
    for (outer, i), (inner, k) in pairwise(folders):
        if inner[: len(outer)] == outer:
            i, k = sorted((i, k))  # noqa: PLW2901
            yield (
                f"entries {i} and {k}: outputs {names[i]!r} and {names[k]!r} would be "
                "the same folder, or one in the other; give each its own"
            )


def hide_job_names(job: VideoJob, text: str) -> str:
    """Return a message with words instead of the names of the files of a job."""
    words = {
        job.video: "the video",
        job.prompts: "the prompt file",
        job.output: "the output folder",
    }
    for place, word in words.items():
        if not place.is_local:
            text = text.replace(str(place), word)
    return hide_names(text, {Path(place.text): word for place, word in words.items()})
