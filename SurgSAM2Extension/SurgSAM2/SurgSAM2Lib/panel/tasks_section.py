"""The panel's section *Tasks*: several videos to annotate one after the other."""

from __future__ import annotations

import time

import qt
import slicer

from surgsam2.errors import InputError
from surgsam2.mrml import load_scene
from SurgSAM2Lib import dialogs
from SurgSAM2Lib.files.task_list import STATUSES, Task, TaskList
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.section import Section, enable
from SurgSAM2Lib.panel.video_section import VideoSection

ANNOTATOR_SETTING = "SurgSAM2/annotator"
"""Application setting: the name of the person who works here."""
_FILTER = "CSV (*.csv)"


class TasksSection(Section):
    """Opens the videos of a list, saves a scene for each, and keeps status and time.

    Args:
        context: what all sections share.
        video: the section that shows videos.

    Attributes:
        tasks: the list; None without one.
        index: position of the task that was opened last; None when none was.
        is_open: whether the scene is that of this task; not after its file could not be read.
    """

    def __init__(self, context: PanelContext, video: VideoSection) -> None:
        super().__init__(context)
        self._video = video
        self.tasks: TaskList | None = None
        self.index: int | None = None
        self.is_open = False
        self._since: float | None = None
        ui = self.ui
        for status in STATUSES:
            ui.taskStatusComboBox.addItem(_status_text(status))
        ui.annotatorLineEdit.text = qt.QSettings().value(ANNOTATOR_SETTING, "") or ""
        ui.annotatorLineEdit.connect("editingFinished()", self._named)
        ui.taskStatusComboBox.connect("activated(int)", self._status_chosen)
        self.on_click(ui.openTasksButton, self.ask_for_list)
        self.on_click(ui.taskFolderButton, self.ask_for_folder)
        self.on_click(ui.previousTaskButton, lambda: self.go_on(-1))
        self.on_click(ui.nextTaskButton, lambda: self.go_on(1))

    def ask_for_list(self) -> None:
        """Ask for a list of videos and open its first unfinished one."""
        path = dialogs.ask_file(_("Open a task list"), _FILTER)
        if path:
            self.use(path)

    def ask_for_folder(self) -> None:
        """Ask for a folder of videos and open the first unfinished one."""
        path = dialogs.ask_folder(_("Open a folder of videos"))
        if path:
            self.use(path)

    def use(self, path: str) -> None:
        """Use a list, and open its first task that is not done and whose video is there.

        Raises:
            InputError: the list cannot be used, or its videos are missing.
        """
        tasks = TaskList(path)
        self.leave()
        self.tasks, self.index = tasks, None
        missing = tasks.missing
        ready = [k for k, task in enumerate(tasks.tasks) if task.video not in missing]
        waiting = [k for k in ready if tasks.tasks[k].status in STATUSES[:2]]
        if ready:
            self.open(waiting[0] if waiting else ready[0])
        if missing:
            raise InputError(
                _(
                    "{count} of {total} videos of {file} are missing: {names}. Put them there; "
                    "their tasks are kept."
                ).format(
                    count=len(missing),
                    total=len(tasks.tasks),
                    file=tasks.path,
                    names=", ".join(missing[:10]),
                )
            )

    def go_on(self, step: int) -> None:
        """Save the open task, and open the next one that has its video, or with -1 the one before.

        Raises:
            InputError: there is none; nothing has changed then.
            OutputError: the scene of the open task cannot be saved; nothing has changed then.
        """
        if self.tasks is None:
            return
        index = (-1 if self.index is None else self.index) + step
        there = self._next_there(self.tasks, index, step)
        self.open(index if there is None else there)

    @staticmethod
    def _next_there(tasks: TaskList, index: int, step: int) -> int | None:
        """Return the first position from an index on whose video is there; None without one."""
        while 0 <= index < len(tasks.tasks):
            if tasks.video(tasks.tasks[index]).exists():
                return index
            index += step
        return None

    def open(self, index: int) -> None:
        """Save the open task, and open another one: its scene if there is one, else its video.

        Raises:
            InputError: there is no such task, or its video is missing; nothing has changed then.
            OutputError: the scene of the open task cannot be saved; nothing has changed then.
        """
        tasks = self.tasks
        if tasks is None or not 0 <= index < len(tasks.tasks):
            raise InputError(_("there is no further task in this list"))
        task = tasks.tasks[index]
        video, scene = tasks.video(task), tasks.scene(task)
        if not video.exists():
            raise InputError(
                _("the video {file} is missing; put it there to go on with its task").format(
                    file=video
                )
            )
        self.leave()
        self.index = index
        slicer.mrmlScene.Clear(0)
        if scene.is_file():
            load_scene(slicer.mrmlScene, scene)
        else:
            self._video.look_at(video)
            self._video.load_or_stream()
        self.is_open, self._since = True, time.monotonic()
        if task.status == STATUSES[0]:
            tasks.change(index, status=STATUSES[1])

    def leave(self) -> None:
        """Save the scene, the time and the annotator of the open task.

        Raises:
            OutputError: a file cannot be written.
        """
        tasks, index = self.tasks, self.index
        if tasks is None or index is None or not self.is_open:
            return
        if self.session is not None:
            self.logic.saveScene(tasks.scene(tasks.tasks[index]))
        self._count_time()
        self.is_open = False

    def scene_closes(self) -> None:
        """Forget that a task is open, so that another scene is not saved in its place."""
        self.is_open = False

    def pause(self) -> None:
        """Stop counting time; another module is shown."""
        self._count_time()
        self._since = None

    def go_on_counting(self) -> None:
        """Count time again, if a task is open."""
        if self.is_open and self._since is None:
            self._since = time.monotonic()

    def _count_time(self) -> None:
        if self.tasks is None or self.index is None or not self.is_open or self._since is None:
            return
        now = time.monotonic()
        task, name = self.tasks.tasks[self.index], self.ui.annotatorLineEdit.text.strip()
        seconds = task.seconds + now - self._since
        self._since = now
        self.tasks.change(self.index, seconds=seconds, annotator=name or task.annotator)

    def _named(self) -> None:
        qt.QSettings().setValue(ANNOTATOR_SETTING, self.ui.annotatorLineEdit.text.strip())

    def _status_chosen(self, number: int) -> None:
        tasks, index = self.tasks, self.index
        if tasks is not None and index is not None:
            self.context.run(lambda: tasks.change(index, status=STATUSES[number]))

    def refresh(self) -> None:
        """Show the open task."""
        tasks, index = self.tasks, self.index
        none = "" if tasks is not None else _("Open a task list or a folder first")
        if self.logic.engine.tracking is not None:
            none = none or _("Tracking is in progress")
        last = len(tasks.tasks) - 1 if tasks is not None else -1
        enable(self.ui.previousTaskButton, none or ("" if index else _("This is the first task")))
        at_end = index is not None and index >= last
        enable(self.ui.nextTaskButton, none or (_("This is the last task") if at_end else ""))
        enable(self.ui.taskStatusComboBox, "" if self.is_open else _("No task is open"))
        if tasks is None or index is None:
            self.ui.taskLabel.text = ""
            return
        task = tasks.tasks[index]
        self.ui.taskStatusComboBox.currentIndex = STATUSES.index(task.status)
        self.ui.taskLabel.text = _summary(tasks, task, index)


def _summary(tasks: TaskList, task: Task, index: int) -> str:
    finished = sum(other.status in STATUSES[2:] for other in tasks.tasks)
    return _("{number} of {total}: {video}, {minutes} min; {finished} done").format(
        number=index + 1, total=len(tasks.tasks), video=task.video,
        minutes=round(task.seconds / 60), finished=finished,
    )  # fmt: skip


def _status_text(status: str) -> str:
    return {
        "new": _("New"),
        "in work": _("In work"),
        "done": _("Done"),
        "checked": _("Checked"),
    }[status]
