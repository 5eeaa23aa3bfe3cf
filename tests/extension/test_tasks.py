"""Task lists: the file, and the section of the panel."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

import surgsam2
from surgsam2.errors import InputError
from surgsam2.mrml import load_video
from tests.extension.conftest import write_mp4
from tests.extension.test_widget import panel  # noqa: F401 - a fixture
from tests.slicer_host.host import SlicerHost


@pytest.fixture
def folder(tmp_path: Path, pictures: np.ndarray) -> Path:
    """A folder with three short videos."""
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_mp4(tmp_path / name, pictures[:4])
    return tmp_path


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the folder's list."""
    with (folder / "tasks.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_list_is_made_for_a_folder_and_found_again(folder: Path) -> None:
    from SurgSAM2Lib.files.task_list import TaskList

    tasks = TaskList(folder)
    assert [(task.video, task.status, task.scene) for task in tasks.tasks] == [
        ("a.mp4", "new", "a.mrb"), ("b.mp4", "new", "b.mrb"), ("c.mp4", "new", "c.mrb"),
    ]  # fmt: skip
    tasks.change(1, status="done", annotator="Ada, M.D.", seconds=61.4)
    again = TaskList(folder)
    assert again.tasks[1].annotator == "Ada, M.D."
    assert again.tasks == TaskList(folder / "tasks.csv").tasks
    (folder / "b.mp4").unlink()
    assert again.missing == ["b.mp4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,state\na.mp4,new\n", "the first line must name the column 'video'"),
        ("", "the first line must name the column 'video'"),
        ("video\n", "there is no video in it"),
        ("video\na.mp4\na.mp4\n", "the video a.mp4 is listed twice"),
        ("video,scene\na.mp4,x.mrb\nb.mp4,x.mrb\n", "the scene x.mrb is listed twice"),
        ("video,scene\na.mp4,x.txt\n", "line 2: the name of a scene ends in .mrb, got x.txt"),
        ("video\na.mp4,new\n", "line 2: there are more values than columns"),
        ("video,scene\na.mp4,../x.mrb\n", "line 2: a scene lies in the folder of the list or"),
        ("video,scene\na.mp4,/x.mrb\n", "line 2: a scene lies in the folder of the list or"),
        ("video,seconds\na.mp4," + "9" * 400 + "\n", "whole seconds"),
        ("video,status\na.mp4,started\n", "line 2: a task has a video, a status"),
        ("video,seconds\na.mp4,-3\n", "whole seconds"),
        ("video,status\n,new\n", "line 2: a task has a video"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    from SurgSAM2Lib.files.task_list import TaskList

    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        TaskList(path)
    assert str(path) in str(caught.value)
    assert path.read_text() == text, "it is not changed"


def test_a_scene_may_lie_beside_its_video(tmp_path: Path) -> None:
    from SurgSAM2Lib.files.task_list import TaskList

    path = tmp_path / "list.csv"
    path.write_text("video,scene\n../a.mp4,../a.mrb\nb.mp4,scenes/b.mrb\n/c/c.mp4,\n")
    tasks = TaskList(path)
    tasks.save()
    assert [task.scene for task in TaskList(path).tasks] == ["../a.mrb", "scenes/b.mrb", "/c/c.mrb"]


def test_other_files_are_no_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from SurgSAM2Lib.files.task_list import TaskList

    with pytest.raises(InputError, match="has no video files"):
        TaskList(tmp_path)
    with pytest.raises(InputError, match=r"missing\.csv cannot be read"):
        TaskList(tmp_path / "missing.csv")
    (tmp_path / "binary.csv").write_bytes(b"video\n\xff\xfe\n")
    with pytest.raises(InputError, match=r"binary\.csv is not text in UTF-8"):
        TaskList(tmp_path / "binary.csv")
    monkeypatch.setattr("surgsam2.storage.table_file.MAX_BYTES", 10)
    (tmp_path / "long.csv").write_text("video\na.mp4\nb.mp4\n")
    with pytest.raises(InputError, match=r"long\.csv is larger than"):
        TaskList(tmp_path / "long.csv")


def test_videos_that_differ_in_their_suffix_have_scenes_of_their_own(folder: Path) -> None:
    from SurgSAM2Lib.files.task_list import TaskList

    (folder / "a.mp4").rename(folder / "b.avi")
    assert [(task.video, task.scene) for task in TaskList(folder).tasks] == [
        ("b.avi", "b.mrb"), ("b.mp4", "b.mp4.mrb"), ("c.mp4", "c.mrb"),
    ]  # fmt: skip


def test_the_panel_goes_through_a_folder(
    panel: Any,
    slicer_app: SlicerHost,
    folder: Path,
) -> None:
    ui = panel.ui
    ui.annotatorLineEdit.text = "Ada"
    slicer_app.dialogs.chosen = [folder]
    ui.taskFolderButton.click()
    slicer_app.process_events()
    assert not slicer_app.dialogs.texts
    assert panel.logic.session.video.name == "a"
    assert rows(folder)[0]["status"] == "in work"
    assert not ui.previousTaskButton.enabled
    object_id = panel.logic.addObject("grasper")
    mask = np.zeros((120, 160), bool)
    mask[20:60, 30:80] = True
    panel.logic.setMask(object_id, mask, frame=2)
    panel.tasks._since -= 90
    ui.taskStatusComboBox.activated.emit(2)
    ui.nextTaskButton.click()
    slicer_app.process_events()
    assert not slicer_app.dialogs.texts
    assert panel.logic.session.video.name == "b"
    assert (folder / "a.mrb").is_file()
    first = rows(folder)[0]
    assert (first["status"], first["annotator"]) == ("done", "Ada")
    assert 90 <= int(first["seconds"]) < 400
    ui.previousTaskButton.click()
    slicer_app.process_events()
    assert np.array_equal(panel.logic.getMask(1, 2), mask), "the saved scene"
    assert panel.logic.session.objects[1].name == "grasper"
    assert "1 of 3: a.mp4" in ui.taskLabel.text
    assert rows(folder)[0]["status"] == "done"


def test_missing_videos_are_named_and_nothing_is_lost(
    panel: Any,
    slicer_app: SlicerHost,
    folder: Path,
) -> None:
    path = folder / "tasks.csv"
    path.write_text("video,annotator\na.mp4,Ada\ngone.mp4,Eve\nc.mp4,\n")
    slicer_app.dialogs.chosen = [path]
    panel.ui.openTasksButton.click()
    slicer_app.process_events()
    assert "1 of 3 videos" in slicer_app.dialogs.texts[0]
    assert "gone.mp4" in slicer_app.dialogs.texts[0]
    assert panel.logic.session.video.name == "a"
    panel.ui.nextTaskButton.click()
    slicer_app.process_events()
    assert panel.logic.session.video.name == "c", "the next one that is there"
    assert [row["annotator"] for row in rows(folder)] == ["Ada", "Eve", ""]
    (folder / "a.mp4").unlink()
    session = panel.logic.session
    panel.ui.previousTaskButton.click()
    slicer_app.process_events()
    assert "gone.mp4 is missing" in slicer_app.dialogs.texts[1]
    assert panel.logic.session is session, "the open video stays"


def test_a_scene_that_cannot_be_read_does_not_stop_the_work(
    panel: Any,
    slicer_app: SlicerHost,
    folder: Path,
) -> None:
    (folder / "b.mrb").write_bytes(b"damaged")
    slicer_app.dialogs.chosen = [folder]
    panel.ui.taskFolderButton.click()
    panel.ui.nextTaskButton.click()
    slicer_app.process_events()
    assert "b.mrb" in slicer_app.dialogs.texts[0]
    assert not panel.ui.taskStatusComboBox.enabled, "no task is open"
    panel.ui.nextTaskButton.click()
    slicer_app.process_events()
    assert panel.logic.session.video.name == "c"
    assert (folder / "b.mrb").read_bytes() == b"damaged"


def test_another_scene_is_not_saved_as_that_of_a_task(
    panel: Any,
    slicer_app: SlicerHost,
    folder: Path,
    pictures: np.ndarray,
) -> None:
    slicer_app.dialogs.chosen = [folder]
    panel.ui.taskFolderButton.click()
    slicer_app.process_events()
    slicer.mrmlScene.Clear(0)
    load_video(slicer.mrmlScene, surgsam2.open_video(pictures), name="other")
    slicer_app.process_events()
    panel.ui.nextTaskButton.click()
    slicer_app.process_events()
    assert panel.logic.session.video.name == "b"
    assert not (folder / "a.mrb").exists()
