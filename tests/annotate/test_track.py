"""A track: what the engine reports becomes masks of the project and events for the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from surgsam2.annotate.project import Project
from surgsam2.annotate.states import FrameState
from surgsam2.annotate.track import ProjectTrack
from surgsam2.engine import Failed, Finished, Tracked
from surgsam2.errors import OutputError
from surgsam2.results.frame_result import FrameResult


class Page:
    """What the page hears of a track."""

    def __init__(self, project: Project) -> None:
        self.events: list[dict[str, Any]] = []
        self.ended = 0
        self.track = ProjectTrack(project, self.events.append, self._end)

    def _end(self) -> None:
        self.ended += 1


def tracked(frame: int, done: int, filled: bool = True) -> Tracked:
    """Return the engine's report of one object on one frame of 8 x 5 pixels."""
    masks = np.full((1, 5, 8), filled)
    score = np.array([0.5], np.float32)
    return Tracked(1, FrameResult(frame, (1,), masks, score, score), done, 5, 20.0)


def test_results_become_masks_and_one_step_of_the_history(project: Project) -> None:
    project.add_object()
    page = Page(project)
    for number, frame in enumerate((1, 2, 3), 1):
        page.track.take(tracked(frame, number, filled=frame != 3))
    page.track.take(Finished(1, "track", "complete"))
    line = project.timelines[1]
    assert line.states.tolist() == [0, *[FrameState.TRACKED] * 2, FrameState.EMPTY, 0, 0]
    assert line.scores[1] == 127
    assert project.mask(1, 2).all()
    assert page.events[0] == {"type": "tracking", "running": True}
    assert page.events[-1] == {"type": "tracking", "running": False, "status": "complete"}
    told = [event for event in page.events if event["type"] == "progress"]
    assert sorted(frame for event in told for frame in event["frames"]) == [1, 2, 3]
    assert (told[-1]["done"], told[-1]["total"], told[-1]["fps"]) == (3, 5, 20.0)
    assert page.ended == 1
    assert project.undo() == {1, 2, 3}
    assert not project.mask(1, 2).any()


def test_frames_that_a_person_decided_stay(project: Project) -> None:
    project.add_object()
    project.mark(1, 2, "absent")
    page = Page(project)
    page.track.take(tracked(2, 1))
    assert not project.mask(1, 2).any()
    assert project.timelines[1].states[2] == FrameState.ABSENT


@pytest.mark.parametrize("last", [Failed(1, "it broke", "device"), None])
def test_a_track_that_does_not_finish_keeps_its_masks(
    project: Project, last: Failed | None
) -> None:
    project.add_object()
    page = Page(project)
    page.track.take(tracked(1, 1))
    if last is None:
        page.track.end("failed")
    else:
        page.track.take(last)
    page.track.take(tracked(2, 2))  # It was on its way.
    page.track.end("cancelled")
    assert project.mask(1, 1).all()
    assert not project.mask(1, 2).any()
    assert page.events[-1]["status"] == "failed"
    assert page.ended == 1
    assert project.history.undo_name == "track"


def test_a_full_disk_is_raised(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **values: Any) -> None:
        raise OutputError("cannot write masks/00001.png: no space left on device")

    project.add_object()
    page = Page(project)
    with monkeypatch.context() as patched:
        patched.setattr("surgsam2.annotate.label_images.write_labels", full)
        with pytest.raises(OutputError, match="no space"):
            page.track.take(tracked(1, 1))
    page.track.take(tracked(2, 2))
    page.track.end("cancelled")
    assert project.timelines[1].states[:3].tolist() == [0, 0, FrameState.TRACKED]
