"""An export in a thread of its own, while the person goes on with the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgsam2.annotate import label_images
from surgsam2.annotate.export import export_project
from surgsam2.annotate.project import Project
from surgsam2.annotate.states import FrameState
from surgsam2.storage.image_file import StoredPixels, read_pixels
from surgsam2.video.arrays import ArrayVideo
from surgsam2.video.base import Frames


class VideoThen(ArrayVideo):
    """A video that does something after its first frame has been taken."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__(np.zeros((6, 5, 8, 3), np.uint8), fps=25)
        self._then = then

    def frames(self, *arguments: Any, **options: Any) -> Frames:
        for number, item in enumerate(super().frames(*arguments, **options)):
            yield item
            if number == 0:
                self._then()


@pytest.fixture
def marked(project: Project) -> Project:
    """Return a project with one object on three frames."""
    project.add_object()
    for frame in range(3):
        project.set_mask(1, frame, np.eye(5, 8, dtype=bool), FrameState.GOOD)
    return project


def rows(folder: Path) -> list[tuple[str, str]]:
    """Return frame and object of each row of the table."""
    lines = (folder / "frames.csv").read_text().splitlines()[1:]
    return [(line.split(",")[0], line.split(",")[1]) for line in lines]


OBJECT_1 = [("0", "1"), ("1", "1"), ("2", "1")]


def test_objects_of_the_beginning_are_exported(marked: Project) -> None:
    def add() -> None:
        new = marked.add_object().id
        marked.set_mask(new, 1, np.ones((5, 8), bool), FrameState.GOOD)

    assert export_project(marked.view(), VideoThen(add), ["csv"]) == ["frames.csv"]
    assert rows(marked.folder) == OBJECT_1
    assert export_project(marked.view(), VideoThen(lambda: None), ["csv"]) == ["frames.csv"]
    assert sorted(rows(marked.folder)) == sorted([*OBJECT_1, ("1", "2")])


def test_an_object_that_is_removed_meanwhile(marked: Project) -> None:
    export_project(marked.view(), VideoThen(lambda: marked.remove_object(1)), ["csv"])
    assert rows(marked.folder) == OBJECT_1


def test_what_is_painted_while_an_image_is_exported_stays(
    marked: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export reads the image of before; the project must not go on from that one."""
    painted = np.zeros((5, 8), bool)
    painted[4, 7] = True
    painting: list[Path] = []

    def read_then_paint(path: Path) -> StoredPixels:
        stored = read_pixels(path)
        if not painting:
            painting.append(path)
            marked.set_mask(1, 1, painted, FrameState.CORRECTED)
        return stored

    monkeypatch.setattr(label_images, "read_pixels", read_then_paint)
    marked.view().labels(1)
    assert painting
    assert np.array_equal(marked.mask(1, 1), painted)


def test_a_file_that_is_being_saved_meanwhile(marked: Project) -> None:
    """An unfinished file has another name a moment later; this link leads to no file either."""
    (marked.folder / ".annotation.json.0123abcd.part").symlink_to("renamed")
    assert export_project(marked.view(), VideoThen(lambda: None), ["csv"]) == ["frames.csv"]


def test_an_image_that_undo_removes_meanwhile(
    marked: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = marked.view()

    def remove_then_read(path: Path) -> StoredPixels:
        path.unlink()
        return read_pixels(path)

    monkeypatch.setattr(label_images, "read_pixels", remove_then_read)
    assert not view.labels(1).any()
