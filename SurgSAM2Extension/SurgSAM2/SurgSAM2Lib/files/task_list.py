"""A list of videos to annotate, with the state of the work on each, in a CSV file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from surgsam2.errors import InputError
from surgsam2.storage.atomic_file import write_text_atomically
from surgsam2.storage.table_file import read_table
from surgsam2.storage.text import spreadsheet_cell
from surgsam2.video import VIDEO_SUFFIXES
from SurgSAM2Lib.i18n import _

COLUMNS = ("video", "status", "annotator", "seconds", "scene")
"""The columns of the file; only ``video`` must be there."""
STATUSES = ("new", "in work", "done", "checked")
FILE_NAME = "tasks.csv"
"""Name of the file that is made for a folder of videos."""


@dataclass(frozen=True)
class Task:
    """One video of a list.

    Attributes:
        video: path of the video, from the folder of the list.
        status: one of `STATUSES`.
        annotator: who worked on it last.
        seconds: time spent on it.
        scene: path of the saved scene, from the folder of the list; in it or beside the video.
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
        InputError: the file cannot be read, has unknown or missing columns, a video or scene
            twice, or a value that cannot be used; or the folder has no videos.

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
            self.tasks = _with_scenes([Task(name) for name in names])
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
            texts = map(spreadsheet_cell, (task.video, task.status, task.annotator, task.scene))
            video, status, annotator, scene = texts
            rows.writerow([video, status, annotator, round(task.seconds), scene])
        write_text_atomically(self.path, text.getvalue())


def _read(path: Path) -> list[Task]:
    tasks = _with_scenes([_task(*row) for row in read_table(path, COLUMNS)])
    if not tasks:
        raise InputError(_("{file}: there is no video in it").format(file=path))
    for column in ("video", "scene"):
        for value, count in Counter(getattr(task, column) for task in tasks).items():
            if count > 1:
                raise InputError(
                    _("{file}: the {column} {value} is listed twice").format(
                        file=path, column=column, value=value
                    )
                )
    return tasks


def _task(place: str, values: dict[str, str]) -> Task:
    status = values.get("status") or STATUSES[0]
    seconds = values.get("seconds") or "0"
    scene = values.get("scene", "")
    numeric = seconds.isascii() and seconds.isdecimal() and len(seconds) < 10
    if not values["video"] or status not in STATUSES or not numeric:
        raise InputError(
            _(
                "{place}: a task has a video, a status ({statuses}) and whole seconds, got {values}"
            ).format(place=place, statuses=", ".join(STATUSES), values=list(values.values()))
        )
    if scene and Path(scene).suffix.lower() != ".mrb":
        raise InputError(
            _("{place}: the name of a scene ends in .mrb, got {scene}").format(
                place=place, scene=scene
            )
        )
    # a list of someone else could otherwise have any scene of this user overwritten
    leaves = Path(scene).is_absolute() or ".." in Path(scene).parts
    if scene and leaves and Path(scene).parent != Path(values["video"]).parent:
        raise InputError(
            _(
                "{place}: a scene lies in the folder of the list or beside its video, got {scene}"
            ).format(place=place, scene=scene)
        )
    return Task(values["video"], status, values.get("annotator", ""), float(seconds), scene)


def _with_scenes(tasks: list[Task]) -> list[Task]:
    """Return tasks with a scene each: by default beside the video, with the name of the video."""
    used = {task.scene for task in tasks}
    result = []
    for task in tasks:
        scene = task.scene or str(Path(task.video).with_suffix(".mrb"))
        if not task.scene and scene in used:  # videos that differ in their suffix
            scene = f"{task.video}.mrb"
        used.add(scene)
        result.append(replace(task, scene=scene))
    return result
