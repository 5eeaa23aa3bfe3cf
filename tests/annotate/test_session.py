"""A session with a real engine: click, correct, paint, track, and what is refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from surgsam2 import PromptSet, cli, segment_video
from surgsam2.annotate.export import export_project
from surgsam2.annotate.masks import label_runs
from surgsam2.annotate.project import Project
from surgsam2.annotate.session import MAX_LATER
from surgsam2.annotate.states import FrameState
from surgsam2.errors import InputError, VideoError
from surgsam2.model.options import ModelOptions
from surgsam2.storage.image_file import read_pixels
from surgsam2.storage.label_image import label_name
from surgsam2.tracking.options import TrackingOptions
from surgsam2.video import Video
from tests.annotate.conftest import Page


def click(page: Page, frame: int = 0, x: float = 30, y: float = 60) -> int:
    """Add an object with one click and wait for its mask."""
    page.do("add_object", name="disc")
    object_id = max(page.session.project.objects)
    page.do("add_point", object=object_id, frame=frame, x=x, y=y, positive=True)
    page.until(lambda: page.session.project.mask(object_id, frame).any())
    return object_id


def track(page: Page, **values: object) -> None:
    page.do("track", **values)
    assert not page.errors()
    page.until(lambda: {"type": "tracking", "running": False, "status": "complete"} in page.events)


def test_masks_equal_those_of_the_library(page: Page, model_options: ModelOptions) -> None:
    object_id = click(page)
    track(page)
    project = page.session.project
    prompts = PromptSet().add(object_id=object_id, frame=0, points=[[30, 60, 1]])
    results = segment_video(model_options.load(), page.session.video, prompts, allow_overlap=False)
    for result in results:
        expected = result.masks[0]
        assert np.array_equal(project.mask(object_id, result.frame_index), expected)
    states = project.timelines[object_id].states
    assert states[0] == FrameState.PROMPTED
    assert set(states[1:].tolist()) <= {FrameState.TRACKED, FrameState.EMPTY}


def test_tracking_has_the_memory_policy_of_the_command(page: Page) -> None:
    page.engine.tracking = TrackingOptions(memory="reliable", min_similarity=1)
    object_id = click(page)
    track(page, start=0, stop=4)
    project = page.session.project
    assert all(project.mask(object_id, index).any() for index in (0, 1)), "nothing is compared yet"
    assert not any(project.mask(object_id, index).any() for index in (2, 3)), "none is as alike"


def test_a_click_keeps_its_mask_when_the_frame_cannot_be_read_for_advice(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(video: Video, index: int) -> np.ndarray:
        raise VideoError(f"frame {index} cannot be read")

    monkeypatch.setattr(type(page.session.video), "__getitem__", gone)
    page.do("add_object")
    page.do("add_point", object=1, frame=0, x=30, y=60, positive=True)
    page.until(lambda: bool(page.errors()))
    assert page.errors() == ["frame 0 cannot be read"]
    assert page.session.project.mask(1, 0).any()


def test_the_command_goes_on_and_the_page_again(
    page: Page,
    video_file: Path,
    model_options: ModelOptions,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The page's prompts give the command the same masks; it corrects; the page takes that over."""
    object_id = click(page)
    track(page)
    project = page.session.project
    project.save()
    out = tmp_path / "command"
    model = ["--model", model_options.model, "--config", str(model_options.config)]
    segment = ["segment", str(video_file), "--prompts", str(project.folder / "prompts.json")]
    assert cli.main([*segment, "--output", str(out), *model]) == 0
    for frame in range(18):
        assert np.array_equal(
            read_pixels(out / "masks" / label_name(frame)).values > 0,
            project.mask(object_id, frame),
        )
    more = tmp_path / "more.json"
    box = [{"frame": 12, "box": [70, 20, 120, 70]}]
    more.write_text(json.dumps({"version": 1, "objects": [{"id": object_id, "prompts": box}]}))
    correct = ["correct", str(video_file), "--prompts", str(more), *model]
    assert cli.main([*correct[:2], str(out), *correct[2:]]) == 0
    with Project(out, 160, 120, 18) as again:
        assert again.object(object_id).name == "disc"
        assert set(again.prompts[object_id]) == {0, 12}
        assert again.timelines[object_id].states[12] == FrameState.PROMPTED
        assert np.array_equal(again.mask(object_id, 5), project.mask(object_id, 5))
        assert not np.array_equal(again.mask(object_id, 12), project.mask(object_id, 12))
    capsys.readouterr()
    assert cli.main([*correct[:2], str(project.folder), *correct[2:]]) == 2
    assert "another run is writing" in capsys.readouterr().err


def test_frames_that_a_person_decided_stay(page: Page) -> None:
    object_id = click(page)
    page.do("mark", objects=[object_id], first=3, last=5, state="absent")
    page.do("paint", object=object_id, frame=8, runs=[0, 40], erase=False)
    painted = page.session.project.mask(object_id, 8).copy()
    track(page)
    project = page.session.project
    assert project.timelines[object_id].states[3:6].tolist() == [FrameState.ABSENT] * 3
    assert not any(project.mask(object_id, frame).any() for frame in (3, 4, 5))
    assert np.array_equal(project.mask(object_id, 8), painted)
    page.do("undo")
    assert project.timelines[object_id].states[12] == FrameState.NONE
    assert np.array_equal(project.mask(object_id, 8), painted)


def test_clicks_on_a_tracked_frame_correct_its_mask(page: Page) -> None:
    object_id = click(page)
    track(page)
    project = page.session.project
    frame = next(f for f in range(1, 18) if project.mask(object_id, f).any())
    page.do("add_point", object=object_id, frame=frame, x=100, y=20, positive=True)
    page.until(lambda: project.timelines[object_id].states[frame] == FrameState.CORRECTED)
    assert project.prompts[object_id][frame].mask is not None


def test_quick_clicks_and_a_track_count_in_order(page: Page) -> None:
    """The engine has answered none of the commands when the next one comes."""
    for number, positive in enumerate((True, False)):  # for no object: they make the first one
        page.do("add_point", object=None, frame=0, x=30.0 + 60 * number, y=60, positive=positive)
    page.do("track", start=0, stop=4)
    page.do("undo")  # which the track refuses, as it has begun by then
    page.until(lambda: {"type": "tracking", "running": False, "status": "complete"} in page.events)
    prompt = page.session.project.prompts[1][0]
    assert prompt.points.tolist() == [[30, 60], [90, 60]]
    assert prompt.labels.tolist() == [1, 0]
    assert page.session.project.history.undo_name == "track"
    assert page.errors() == ["tracking is in progress; wait for its end, or cancel it first"]


def test_commands_after_a_click_are_given_up_with_the_engine(page: Page) -> None:
    page.do("add_object")
    page.do("add_point", object=1, frame=0, x=30, y=60, positive=True)
    page.do("track")
    page.do("restart_engine")
    page.until(lambda: page.engine.ready)
    assert not page.session.project.prompts[1]
    click(page)  # the next ones do not wait
    assert not page.errors()


def test_only_so_many_commands_wait_for_a_click(page: Page) -> None:
    page.do("add_object")
    page.do("add_point", object=1, frame=0, x=30, y=60, positive=True)
    for _ in range(MAX_LATER + 2):
        page.do("add_object")
    assert len(page.errors()) == 2
    assert "this was not done" in page.errors()[0]
    page.do("hover", frame=0, x=30, y=60)  # is never kept for later
    page.until(lambda: page.session.project.mask(1, 0).any())
    assert len(page.session.project.objects) == 1 + MAX_LATER
    assert len(page.errors()) == 2


def test_a_range_is_tracked_alone(page: Page) -> None:
    object_id = click(page)
    track(page, start=0, stop=6, objects=[object_id])
    assert not page.session.project.timelines[object_id].states[6:].any()


def test_a_cancelled_track_keeps_what_it_has(page: Page) -> None:
    object_id = click(page)
    page.do("track")
    page.do("add_point", object=object_id, frame=0, x=1, y=1, positive=False)
    assert page.errors() == ["tracking is in progress; wait for its end, or cancel it first"]
    page.do("cancel")
    page.until(lambda: any(e["type"] == "tracking" and not e["running"] for e in page.events))
    assert page.session.project.mask(object_id, 0).any()
    assert page.session.project.history.undo_name == "track"


def test_the_engine_dies(page: Page) -> None:
    object_id = click(page)
    page.do("track")
    assert page.engine.pid is not None
    os.kill(page.engine.pid, signal.SIGKILL)
    page.until(lambda: any("stopped unexpectedly" in message for message in page.errors()))
    page.events.clear()
    page.until(lambda: any(e.get("status") == "ready" for e in page.events))
    assert page.session.project.mask(object_id, 0).any()
    track(page)


def test_a_stopped_engine_is_told_and_started_again(page: Page) -> None:
    """A process that was stopped says nothing: the page tells it, and offers to start it again."""
    object_id = click(page)
    stopped = page.engine.pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    page.until(lambda: any(e["type"] == "engine" and e["notice"] for e in page.events))
    assert "was stopped, or this machine has too little memory" in page.session.hello()["notice"]
    page.events.clear()
    os.kill(stopped, signal.SIGCONT)
    page.until(lambda: {"type": "engine", "notice": ""} in page.events)
    os.kill(stopped, signal.SIGSTOP)
    page.until(lambda: any(e["type"] == "engine" and e["notice"] for e in page.events))
    page.do("track")
    page.events.clear()
    page.do("restart_engine")
    assert {"type": "engine", "notice": ""} in page.events
    assert any(e["type"] == "tracking" and e["status"] == "failed" for e in page.events)
    page.until(lambda: any(e.get("status") == "ready" for e in page.events))
    assert page.engine.pid != stopped
    assert page.session.project.mask(object_id, 0).any()
    assert not page.errors()


def test_the_timeline_grows_during_a_track(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgsam2.annotate.session.SHOW_SECONDS", 0.0)
    object_id = click(page)
    track(page)
    lines = [e["timelines"][object_id] for e in page.events if e["type"] == "timelines"]
    grown = [sum(n for state, n in line["states"] if state) for line in lines]
    assert grown == sorted(grown)
    assert any(1 < done < 18 for done in grown)


def test_a_hover_needs_no_object(page: Page) -> None:
    """The click after it would make the first one."""
    page.do("hover", frame=2, x=40, y=60)
    page.until(lambda: any(event["type"] == "hover" for event in page.events))
    assert not page.session.project.objects
    assert not page.errors()


def test_a_hover_keeps_nothing(page: Page) -> None:
    page.do("add_object")
    page.do("hover", frame=2, x=40, y=60)
    page.until(lambda: any(event["type"] == "hover" for event in page.events))
    assert not page.session.project.labels(2).any()
    assert page.session.project.history.undo_name == "add an object"


def test_exports_have_the_masks(page: Page) -> None:
    click(page)
    track(page)
    session = page.session
    files = export_project(session.project.view(), session.video, ["coco", "csv"])
    assert files == ["annotations.coco.json", "frames.csv"]
    with pytest.raises(InputError, match="formats must be some of"):
        export_project(session.project.view(), session.video, ["exe"])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ({"command": "fly"}, "unknown command"),
        ({"command": ["fly"]}, "unknown command"),
        ({"command": "add_point"}, "cannot be read"),
        ({"command": "add_point", "object": float("inf"), "frame": 0}, "cannot be read"),
        ({"command": "update_object", "object": 1, "changes": [1]}, "cannot be read"),
        ({"command": "add_point", "object": 9, "frame": 0}, "there is no object 9"),
        ({"command": "add_point", "object": 1, "frame": 99}, "there is no frame 99"),
        ({"command": "hover", "frame": 0, "x": 999, "y": 0}, "outside"),
        ({"command": "set_box", "object": 1, "frame": 0, "box": [5, 5]}, "box"),
        ({"command": "mark", "objects": [1], "first": 0, "last": 1, "state": "odd"}, "be good"),
        ({"command": "track", "direction": "up"}, "direction must be one of"),
        ({"command": "track"}, "nothing to track"),
        ({"command": "update_object", "object": 1, "changes": {"color": "red"}}, "color"),
        ({"command": "update_object", "object": 1, "changes": {"locked": "yes"}}, "locked must be"),
    ],
)  # fmt: skip
def test_refused_commands(page: Page, command: dict[str, object], message: str) -> None:
    page.do("add_object")
    page.session.handle(command)
    assert message in page.errors()[-1]


def test_a_locked_object_does_not_change(page: Page) -> None:
    object_id = click(page)
    page.do("update_object", object=object_id, changes={"locked": True})
    before = label_runs(page.session.project.labels(0))
    page.do("paint", object=object_id, frame=0, runs=[0, 4], erase=False)
    assert "is locked" in page.errors()[-1]
    assert label_runs(page.session.project.labels(0)) == before
