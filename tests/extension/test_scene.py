"""Saving and opening scenes, and closing them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from SurgSAM2Lib.logic import LogicCore
from SurgSAM2Lib.tracking.engine import EngineError

import surgsam2
from surgsam2.errors import InputError, VideoError
from surgsam2.mrml import load_scene
from tests.conftest import disc
from tests.extension.conftest import FRAMES, HEIGHT, WIDTH
from tests.extension.fake_client import FakeClient


def reopened(logic: LogicCore, folder: Path) -> LogicCore:
    """Save the scene, read it into a new one, and return the logic on that."""
    path = folder / "scene.mrb"
    logic.saveScene(path)
    scene = slicer.vtkMRMLScene()
    load_scene(scene, path)
    other = LogicCore(scene, makeClient=FakeClient)
    other.setVideo(scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))
    return other


def test_a_saved_scene_opens_with_everything_in_it(logic: LogicCore, tmp_path: Path) -> None:
    entry = "Segmentation category and type~SCT^260787004^Physical object~SCT^77720000^Clip~^^"
    clip = logic.addObject("clip äß", "#123456", entry)
    logic.addPoint(1, 50, 60, frame=0)
    logic.addPoint(1, 70, 60, positive=False, frame=0)
    logic.setBox(clip, [20.5, 30, 60, 70], frame=2)
    logic.track(wait=True)
    logic.correct(1, [[60, 52, 0]], frame=5, wait=True)
    logic.track(start=5, wait=True)
    logic.markGood([3, 7])
    other = reopened(logic, tmp_path)
    before, after = logic.session, other.session
    assert before is not None
    assert after is not None
    assert tuple(after.objects) == tuple(before.objects)
    assert after.objects[clip].terminology == entry
    assert after.prompt_set() == before.prompt_set()
    assert list(after.good) == [3, 7]
    for k in range(FRAMES):
        assert np.array_equal(after.video.frame(k), before.video.frame(k))
        for style in before.objects:
            assert np.array_equal(other.getMask(style.id, k), logic.getMask(style.id, k)), (
                k,
                style,
            )
    assert list(after.edited) == []
    other.track(wait=True)


def test_an_edit_that_was_not_used_yet_is_remembered(logic: LogicCore, tmp_path: Path) -> None:
    session = logic.session
    assert session is not None
    session.edited.add([4])
    other = reopened(logic, tmp_path)
    assert other.session is not None
    assert list(other.session.edited) == [4]


def test_damaged_prompts_in_a_scene_are_a_message(logic: LogicCore, a_video: Any) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    a_video.GetNodeReference("SurgSAM2.prompts").SetText("{")
    other = LogicCore(logic.scene, makeClient=FakeClient)
    with pytest.raises(surgsam2.SurgSAM2Error, match="prompts saved in this scene: line 1"):
        other.setVideo(a_video)


def test_a_video_that_is_deleted_during_a_track_ends_it(logic: LogicCore) -> None:
    errors: list[str] = []
    logic.onError = errors.append
    logic.addPoint(1, 50, 60, frame=0)
    job = logic.track()
    while job.done < 3:
        logic.processEvents()
    assert logic.session is not None
    logic.scene.RemoveNode(logic.session.masks.sequence)
    logic.wait(10)
    assert job.status == "failed"
    assert "deleted" in errors[0]
    with pytest.raises(InputError, match="deleted"):
        logic.addPoint(1, 50, 60, frame=0)


def test_a_scene_that_is_closed_during_a_track_ends_it(
    logic: LogicCore, client: FakeClient
) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    job = logic.track()
    while job.done < 3:
        logic.processEvents()
    logic.setVideo(None)  # the module does this when a scene starts to close
    logic.scene.Clear(0)
    assert job.status == "cancelled"
    assert logic.wait(1)
    for _ in range(2 * FRAMES):
        logic.processEvents()
    with pytest.raises(InputError, match="no video"):
        logic.track()


def test_a_scene_that_is_cleared_without_notice_is_a_message(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.scene.Clear(0)
    with pytest.raises((InputError, EngineError), match="deleted"):
        logic.track(wait=True)


def test_another_video_has_its_own_objects_and_prompts(
    logic: LogicCore, a_video: Any, pictures: np.ndarray
) -> None:
    from surgsam2.mrml import load_video

    logic.addPoint(1, 50, 60, frame=0)
    other = load_video(logic.scene, surgsam2.open_video(pictures[:4]), name="other")
    assert other is not None
    logic.setVideo(other.browser)
    assert logic.session is not None
    assert len(logic.session.objects) == 0
    logic.addObject("vessel")
    logic.setMask(1, disc(WIDTH, HEIGHT, 20, 20, 9), frame=1)
    logic.track(wait=True)
    logic.setVideo(a_video)
    assert logic.session.objects[1].name == "tool"
    assert logic.session.prompt_set().frames == (0,)
    assert not logic.getMask(1, 1).any()


def nodes_of(scene: Any) -> list[str]:
    return [scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())]


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "browser", "volume", "deleted"])
def test_what_is_no_video_is_refused_and_nothing_is_added(
    scene: Any, tmp_path: Path, kind: str, logic: LogicCore
) -> None:
    session = logic.session
    file = tmp_path / "no_video.mp4"
    if kind in ("empty", "text"):
        file.write_text("" if kind == "empty" else "this is no video" * 99)
    node = {
        "browser": "vtkMRMLSequenceBrowserNode",
        "volume": "vtkMRMLScalarVolumeNode",
        "deleted": "vtkMRMLSequenceBrowserNode",
    }.get(kind)
    added = scene.AddNewNodeByClass(node) if node else None
    if kind == "deleted":
        scene.RemoveNode(added)
    before = nodes_of(scene)
    with pytest.raises((VideoError, InputError)):
        logic.setVideo(added) if node else logic.loadVideo(file)
    assert nodes_of(scene) == before
    assert logic.session is session, "the former video is still there"


def test_a_video_too_large_for_memory_is_refused_with_advice(
    logic: LogicCore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pictures: np.ndarray
) -> None:
    from PIL import Image

    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{k}.png")
    before = nodes_of(logic.scene)
    monkeypatch.setattr("surgsam2.mrml.loading.free_memory", lambda: 100_000)
    with pytest.raises(InputError, match=r"load at most .* frames"):
        logic.loadVideo(tmp_path)
    assert nodes_of(logic.scene) == before
    monkeypatch.undo()
    browser = logic.loadVideo(tmp_path, start=2, stop=10, stride=2, scale=0.5)
    assert browser.GetNumberOfItems() == 4
    assert logic.session is not None
    assert (logic.session.video.width, logic.session.video.height) == (80, 60)
    assert [logic.session.video.frame_number(k) for k in range(4)] == [2, 4, 6, 8]


def test_loading_can_be_stopped(logic: LogicCore, tmp_path: Path, pictures: np.ndarray) -> None:
    from PIL import Image

    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{k}.png")
    before, seen = nodes_of(logic.scene), []
    browser = logic.loadVideo(
        tmp_path, progress=lambda done, total: seen.append(done), shouldStop=lambda: len(seen) > 3
    )
    assert browser is None
    assert len(seen) == 4
    assert nodes_of(logic.scene) == before


def test_prompts_from_a_file_and_back(logic: LogicCore, tmp_path: Path) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.setMask(1, disc(WIDTH, HEIGHT, 20, 20, 9), frame=4)
    logic.savePrompts(tmp_path / "prompts.json")
    prompts = surgsam2.load_prompts(tmp_path / "prompts.json")
    assert logic.session is not None
    assert prompts == logic.session.prompt_set()
    logic.removeObject(1)
    assert len(logic.session.prompt_set()) == 0
    logic.loadPrompts(tmp_path / "prompts.json")
    assert logic.session.prompt_set() == prompts
    assert logic.session.objects[1].name == "tool"
    assert logic.getMask(1, 4).any()
