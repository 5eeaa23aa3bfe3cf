"""A list of videos to annotate, with the state of the work on each, in a CSV file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from surgsam2.errors import InputError
from surgsam2.storage.atomic_file import write_text_atomically
from SurgSAM2Lib.files.opening import VIDEO_SUFFIXES
from SurgSAM2Lib.i18n import _

COLUMNS = ("video", "status", "annotator", "seconds", "scene")
"""The columns of the file; only ``video`` must be there."""
STATUSES = ("new", "in work", "done", "checked")
FILE_NAME = "tasks.csv"
"""Name of the file that is made for a folder of videos."""
_MAX_BYTES = 2**24


@dataclass(frozen=True)
class Task:
    """One video of a list.

    Attributes:
        video: path of the video, from the folder of the list.
        status: one of `STATUSES`.
        annotator: who worked on it last.
        seconds: time spent on it.
        scene: path of the saved scene, from the folder of the list.
    """

    video: str
    status: str = "new"
    annotator: str = ""
    seconds: float = 0.0
    scene: str = ""


class TaskList:
    """The tasks of a file. Every change is written at once.

    Args:
        path: the CSV file; paths in it start from its folder. For a folder of videos the list is
            made in it, unless it has one.

    Raises:
        InputError: the file cannot be read, has unknown or missing columns, a video twice, or a
            value that cannot be used; or the folder has no videos.

    Attributes:
        path: the CSV file.
        tasks: the tasks in the order of the file.
    """

    def __init__(self, path: str | Path) -> None:
        given = Path(path)
        self.path = given / FILE_NAME if given.is_dir() else given
        if given.is_dir() and not self.path.exists():
            names = sorted(p.name for p in given.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
            if not names:
                raise InputError(_("{folder} has no video files").format(folder=given))
            self.tasks = [_with_scene(Task(name)) for name in names]
            self.save()
        else:
            self.tasks = _read(self.path)

    @property
    def missing(self) -> list[str]:
        """The videos that are not there; their tasks are kept."""
        return [task.video for task in self.tasks if not self.video(task).exists()]

    def video(self, task: Task) -> Path:
        """Return the path of a task's video."""
        return self.path.parent / task.video

    def scene(self, task: Task) -> Path:
        """Return the path of a task's scene, whether it exists or not."""
        return self.path.parent / task.scene

    def change(self, index: int, **changes: object) -> None:
        """Change values of a task, and write the file.

        Raises:
            OutputError: the file cannot be written; the task has changed in memory.
        """
        self.tasks[index] = replace(self.tasks[index], **changes)  # type: ignore[arg-type]
        self.save()

    def save(self) -> None:
        """Write the file. Raises `OutputError`."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for task in self.tasks:
            rows.writerow(
                [task.video, task.status, task.annotator, round(task.seconds), task.scene]
            )
        write_text_atomically(self.path, text.getvalue())


def _read(path: Path) -> list[Task]:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text), restkey="", restval="")
        columns = [column.strip().lower() for column in rows.fieldnames or ()]
        unknown = [column for column in columns if column not in COLUMNS]
        if unknown or "video" not in columns:
            raise InputError(
                _(
                    "{file}: the first line must name the column 'video' and may name {others}; "
                    "it names {columns}"
                ).format(file=path, others=", ".join(COLUMNS[1:]), columns=", ".join(columns))
            )
        rows.fieldnames = columns
        tasks = [_task(row, f"{path}, line {rows.line_num}") for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            _("{file} cannot be read as a task list: {reason}").format(file=path, reason=error)
        ) from error
    twice = [video for video, count in Counter(task.video for task in tasks).items() if count > 1]
    if twice or not tasks:
        problem = _("the video {video} is listed twice").format(video=twice[0]) if twice else ""
        raise InputError(f"{path}: {problem or _('there is no video in it')}")
    return tasks


def _task(row: dict[str, str], place: str) -> Task:
    values = {key: value.strip() for key, value in row.items() if key and isinstance(value, str)}
    status = values.get("status") or STATUSES[0]
    seconds = values.get("seconds") or "0"
    if not values["video"] or status not in STATUSES or not seconds.isdecimal():
        raise InputError(
            _(
                "{place}: a task has a video, a status ({statuses}) and whole seconds, got {values}"
            ).format(place=place, statuses=", ".join(STATUSES), values=list(values.values()))
        )
    task = Task(
        values["video"], status, values.get("annotator", ""), float(seconds),
        values.get("scene", ""),
    )  # fmt: skip
    return _with_scene(task)


def _with_scene(task: Task) -> Task:
    """Return a task with a scene, by default beside the video with its name."""
    return task if task.scene else replace(task, scene=str(Path(task.video).with_suffix(".mrb")))
