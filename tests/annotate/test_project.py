"""Projects: what is kept, what is undone, and whose folder is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgsam2.annotate.history import History, Snapshot
from surgsam2.annotate.masks import label_runs, mask_from_runs
from surgsam2.annotate.project import Project
from surgsam2.annotate.states import FrameState, runs_of, values_of
from surgsam2.errors import InputError, OutputError, PromptError
from surgsam2.prompts import Prompt, load_class_list, load_prompts
from surgsam2.storage.label_image import write_labels
from surgsam2.storage.output_folder import ANNOTATION

SIZE = (8, 5, 6)


def square(x: int, y: int, side: int = 2) -> np.ndarray:
    mask = np.zeros((5, 8), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def mark(project: Project, object_id: int, frame: int, mask: np.ndarray) -> None:
    project.set_prompt(object_id, frame, Prompt(frame, mask=mask))
    project.set_mask(object_id, frame, mask, FrameState.CORRECTED)


def test_everything_is_there_again(project: Project, tmp_path: Path) -> None:
    first = project.add_object("grasper", "#ff0000")
    second = project.add_object()
    project.update_object(second.id, locked=True, visible=False)
    mark(project, first.id, 2, square(1, 1))
    project.set_mask(second.id, 3, square(4, 2), FrameState.TRACKED, 0.5)
    project.close()
    with Project(tmp_path / "work", *SIZE) as again:
        assert again.objects == project.objects
        assert np.array_equal(again.mask(first.id, 2), square(1, 1))
        assert np.array_equal(again.mask(second.id, 3), square(4, 2))
        assert again.prompts == project.prompts
        line = again.timelines[second.id]
        assert line.states.tolist() == [0, 0, 0, FrameState.TRACKED, 0, 0]
        assert line.scores[3] == 127
        assert not again.changed


def test_the_command_goes_on_from_the_prompts(project: Project, tmp_path: Path) -> None:
    tool = project.add_object("tool").id
    mark(project, tool, 1, square(0, 0))
    project.save()
    prompts = load_prompts(tmp_path / "work" / "prompts.json")
    assert prompts.for_object(tool).name == "tool"
    assert prompts.video is not None
    assert prompts.video.frames == 6


def test_masks_that_the_state_does_not_know_are_found(project: Project, tmp_path: Path) -> None:
    """The process may die between a mask and the next save."""
    tool = project.add_object("tool").id
    project.save()
    project.set_mask(tool, 4, square(2, 2), FrameState.TRACKED)
    project.changed = False  # as if it had been killed
    project.close()
    with Project(tmp_path / "work", *SIZE) as again:
        assert again.timelines[tool].states[4] == FrameState.TRACKED


def test_results_of_the_command_are_taken_over(tmp_path: Path) -> None:
    with Project(tmp_path / "work", *SIZE) as project:
        tool = project.add_object("tool").id
        mark(project, tool, 1, square(0, 0))
    (tmp_path / "work" / ANNOTATION).unlink()
    with Project(tmp_path / "work", *SIZE) as again:
        assert again.objects[tool].name == "tool"
        assert again.timelines[tool].states[1] == FrameState.PROMPTED


def test_locked_objects_keep_their_pixels(project: Project) -> None:
    kept, moved = project.add_object().id, project.add_object().id
    project.set_mask(kept, 0, square(2, 1), FrameState.TRACKED)
    project.update_object(kept, locked=True)
    project.set_mask(moved, 0, np.ones((5, 8), bool), FrameState.TRACKED)
    assert np.array_equal(project.mask(kept, 0), square(2, 1))
    assert np.array_equal(project.mask(moved, 0), ~square(2, 1))


def test_undo_and_redo(project: Project) -> None:
    tool = project.add_object().id
    with project.change("paint"):
        mark(project, tool, 0, square(1, 1))
    with project.change("erase"):
        project.set_mask(tool, 0, None, FrameState.NONE)
        project.set_prompt(tool, 0, None)
    assert project.history.undo_name == "erase"
    assert project.undo() == {0}
    assert np.array_equal(project.mask(tool, 0), square(1, 1))
    assert 0 in project.prompts[tool]
    assert project.undo() == {0}
    assert not project.mask(tool, 0).any()
    assert project.timelines[tool].states[0] == FrameState.NONE
    project.redo()
    assert np.array_equal(project.mask(tool, 0), square(1, 1))
    project.redo()
    assert not project.mask(tool, 0).any()
    assert project.redo() == set()


def test_a_removed_object_comes_back(project: Project) -> None:
    tool = project.add_object("tool").id
    project.set_mask(tool, 3, square(1, 1), FrameState.TRACKED)
    with project.change("remove"):
        project.remove_object(tool)
    assert tool not in project.objects
    assert not project.labels(3).any()
    project.undo()
    assert project.objects[tool].name == "tool"
    assert np.array_equal(project.mask(tool, 3), square(1, 1))


def test_history_is_bounded() -> None:
    history = History(budget=10_000)
    for number in range(20):
        history.add(Snapshot(str(number), {}, {}, {}, {0: bytes(3000)}))
    names = []
    while (snapshot := history.take_undo()) is not None:
        names.append(snapshot.name)
    assert names == ["19", "18"]


def test_masks_that_corrections_replaced_count_as_history(tmp_path: Path) -> None:
    """Each correction of a 4K frame replaces a prompt of 8 MB, which undo keeps."""
    with Project(tmp_path / "work", 400, 300, 6) as project:
        project.history = History(budget=1_000_000)
        tool = project.add_object("tool").id
        for number in range(20):
            with project.change(str(number)):
                mark(project, tool, 0, np.arange(120_000).reshape(300, 400) > number)
                mark(project, tool, 1, np.ones((300, 400), bool))
        assert 0 < undo_steps(project) <= 5
        for _ in range(20):  # what is still a prompt is not the history's
            with project.change("another object"):
                project.add_object()
        assert undo_steps(project) >= 20


def undo_steps(project: Project) -> int:
    """Undo everything, and do it again; return the number of steps."""
    steps = 0
    while project.history.undo_name is not None:
        project.undo()
        steps += 1
    while project.history.redo_name is not None:
        project.redo()
    return steps


def test_two_at_a_time_are_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="another run is writing"):
        Project(tmp_path / "work", *SIZE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"version": 2}, "version 2"),
        (lambda c: c | {"video": {"width": 9, "height": 5, "frames": 6}}, "of another video"),
        (lambda c: c | {"objects": 7}, "is damaged"),
        (lambda c: c | {"objects": [{"id": 1}]}, "is damaged"),
        (lambda c: [c], "is damaged"),
        (lambda c: {}, "is damaged"),
    ],
)
def test_other_project_files_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    with Project(tmp_path / "work", *SIZE) as project:
        project.add_object()
    path = tmp_path / "work" / ANNOTATION
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    before = path.read_bytes()
    with pytest.raises(OutputError, match=message):
        Project(tmp_path / "work", *SIZE)
    assert path.read_bytes() == before


KEYS = st.sampled_from(["version", "video", "objects", "id", "states", "scores"])
ANY = st.recursive(
    st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(KEYS, v)
)


@given(ANY)
def test_any_json_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    folder = tmp_path_factory.mktemp("any")
    with Project(folder, *SIZE) as project:
        project.save()
    (folder / ANNOTATION).write_text(json.dumps(value))
    with pytest.raises((OutputError, PromptError)):
        Project(folder, *SIZE)


def test_objects_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A label image of a stranger can show 65,535 objects, each with a state on every frame."""
    monkeypatch.setattr("surgsam2.annotate.project.MAX_STATES", 20)
    (tmp_path / "masks").mkdir()
    (tmp_path / ".surgsam2").touch()
    labels = np.arange(40, dtype=np.uint16).reshape(5, 8)
    write_labels(tmp_path / "masks" / "00002.png", labels, None)
    with pytest.raises(InputError, match=r"4 objects on 6 frames are too many .* 3 at most"):
        Project(tmp_path, *SIZE)


@given(st.lists(st.integers(0, max(FrameState)), max_size=40))
def test_runs_are_the_values(values: list[int]) -> None:
    array = np.array(values, np.uint8)
    assert np.array_equal(values_of(runs_of(array), len(values)), array)


@given(st.lists(st.booleans(), min_size=40, max_size=40))
def test_painted_runs_are_the_mask(pixels: list[bool]) -> None:
    mask = np.array(pixels).reshape(5, 8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel(), [0]])))
    runs = np.column_stack([edges[::2], edges[1::2] - edges[::2]]).ravel().tolist()
    assert np.array_equal(mask_from_runs(runs, 8, 5), mask)


@given(st.lists(st.integers(0, 300), min_size=40, max_size=40))
def test_label_runs_are_the_label_image(pixels: list[int]) -> None:
    labels = np.array(pixels, np.uint16).reshape(5, 8)
    pairs = np.frombuffer(label_runs(labels), "<u4").reshape(-1, 2)
    assert np.array_equal(np.repeat(pairs[:, 0], pairs[:, 1]), labels.ravel())


@pytest.mark.parametrize(
    "runs", [[1], [-1, 2], [39, 2], [0, 0], [4, 2, 3, 2], ["a", 1], None, [[1], 2]]
)
def test_runs_that_leave_the_picture_are_refused(runs: Any) -> None:
    with pytest.raises(InputError, match="a painted mask must"):
        mask_from_runs(runs, 8, 5)


def paint(project: Project, object_id: int) -> None:
    with project.change("paint"):
        project.set_prompt(object_id, 2, None)
        project.set_mask(object_id, 2, square(4, 2), FrameState.CORRECTED)


def test_a_full_disk_changes_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    item = project.add_object()
    mark(project, item.id, 2, square(1, 1))
    steps = project.history.undo_name

    def full(*args: Any, **kwargs: Any) -> None:
        raise OutputError("cannot write masks/00002.png: no space left on device")

    monkeypatch.setattr("surgsam2.annotate.label_images.write_labels", full)
    with pytest.raises(OutputError, match="no space"):
        paint(project, item.id)
    assert np.array_equal(project.mask(item.id, 2), square(1, 1))
    assert project.history.undo_name == steps
    monkeypatch.undo()
    paint(project, item.id)
    project.undo()
    assert np.array_equal(project.mask(item.id, 2), square(1, 1))


def test_a_name_of_the_list_is_a_class(tmp_path: Path) -> None:
    classes = load_class_list("general")
    chosen = next(iter(classes))
    with Project(tmp_path / "work", *SIZE, classes) as project:
        item = project.add_object()
        project.update_object(item.id, name=chosen.name.upper())
        assert project.object(item.id).color == chosen.color
        project.set_prompt(item.id, 0, Prompt(0, mask=square(1, 1)))
    assert load_prompts(tmp_path / "work" / "prompts.json").for_object(1).object_class == chosen
    with Project(tmp_path / "work", *SIZE) as again:
        assert again.object(1).object_class == chosen
