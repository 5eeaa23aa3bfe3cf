"""The module with a video that stays in its file and is tracked from there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from PIL import Image
from SurgSAM2Lib.logic import LogicCore

from surgsam2.errors import InputError, OutputError
from surgsam2.mrml import load_scene
from tests.conftest import moving_picture
from tests.extension.conftest import MODULE_FOLDER
from tests.extension.fake_client import FakeClient
from tests.extension.shared_engine import SharedEngine
from tests.slicer_host.host import SlicerHost
from tests.video.long_video import FRAMES, HEIGHT, WIDTH, number_in, write_long_video

FIRST, COUNT = 9000, 6
BOX = [24, 16, 71, 47]
MEMORY = 200 * WIDTH * HEIGHT * 3


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long_video(tmp_path_factory.mktemp("original") / "long.avi")


@pytest.fixture
def file(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "operation.avi"))


@pytest.fixture
def logic(scene: Any, file: Path, client: FakeClient) -> Iterator[LogicCore]:
    """The logic with a streamed video, an object and a fake engine client."""
    core = LogicCore(scene, makeClient=lambda: client)
    core.streamVideo(file, memory=MEMORY)
    core.addObject("tool", "#11aa55")
    yield core
    core.close()


@pytest.fixture
def real(
    scene: Any,
    file: Path,
    tmp_path: Path,
    demo_checkpoint: Path,
    small_config: Path,
    shared_engine: SharedEngine,
) -> Iterator[LogicCore]:
    """The logic with a streamed video, the real engine process and a small network."""
    core = LogicCore(scene, makeClient=lambda: shared_engine)
    core.setModel(demo_checkpoint, config=str(small_config), device="cpu")
    core.streamVideo(file, tmp_path / "results", memory=MEMORY)
    core.addObject("tool", "#11aa55")
    yield core
    core.close()


def folder_of(logic: LogicCore) -> Path:
    masks: Any = logic.currentSession.masks
    return Path(masks.folder)


def files_of(logic: LogicCore) -> dict[int, np.ndarray]:
    """Return the object ids, (H, W), by frame, from the files."""
    found = {}
    for path in sorted((folder_of(logic) / "masks").glob("*.png")):
        with Image.open(path) as image:
            found[int(path.stem)] = np.asarray(image)
    return found


def test_tracked_from_the_file_as_from_the_scene(
    real: LogicCore,
    file: Path,
    demo_checkpoint: Path,
    small_config: Path,
    shared_engine: SharedEngine,
) -> None:
    real.setBox(1, BOX, frame=FIRST)
    window: Any = real.currentSession.video
    assert window.window.settle(30)
    held = window.window.held_bytes
    job = real.track(start=FIRST, stop=FIRST + COUNT, wait=True)
    assert (job.status, job.done) == ("complete", COUNT)
    assert window.window.held_bytes == held, "the engine process decodes by itself"
    tracked = files_of(real)
    assert list(tracked) == list(range(FIRST, FIRST + COUNT))
    assert all(labels.any() for labels in tracked.values())

    plain = LogicCore(slicer.vtkMRMLScene(), makeClient=lambda: shared_engine)
    plain.setModel(demo_checkpoint, config=str(small_config), device="cpu")
    plain.loadVideo(file, start=FIRST, stop=FIRST + COUNT)
    plain.addObject("tool", "#11aa55")
    plain.setBox(1, BOX, frame=0)
    plain.track(wait=True)
    for k in range(COUNT):
        assert np.array_equal(tracked[FIRST + k] == 1, plain.getMask(1, k))
        assert np.array_equal(real.getMask(1, FIRST + k), plain.getMask(1, k))
    plain.close()


def test_a_file_that_is_lost_is_a_message_and_masks_are_kept(real: LogicCore, file: Path) -> None:
    errors: list[str] = []
    real.onError = errors.append
    real.setBox(1, BOX, frame=FIRST)
    real.track(start=FIRST, stop=FIRST + 3, wait=True)
    kept = files_of(real)
    assert len(kept) == 3
    real.currentSession.video.window.settle(30)  # type: ignore[attr-defined]
    try:
        file.unlink()
    except PermissionError:
        pytest.skip("this system does not delete files that are open")
    real.setBox(1, BOX, frame=100)
    job = real.track(start=100, stop=110)
    assert real.wait(60)
    assert job.status == "failed"
    assert "operation.avi" in errors[0]
    after = files_of(real)
    assert all(np.array_equal(after[k], kept[k]) for k in kept)


def test_a_file_that_is_cut_off_in_the_middle_of_a_track(
    logic: LogicCore, client: FakeClient
) -> None:
    errors: list[str] = []
    logic.onError = errors.append
    logic.setBox(1, BOX, frame=100)
    client.readable = 5
    job = logic.track(start=100, stop=112)
    assert logic.wait(60)
    assert job.status == "failed"
    assert "only 5 of 12 frames" in errors[0]
    assert "operation.avi" in errors[0]
    assert list(files_of(logic)) == [100, 101, 102, 103, 104]


def test_a_folder_that_is_lost_in_the_middle_of_a_track(
    scene: Any,
    tmp_path: Path,
    demo_checkpoint: Path,
    small_config: Path,
    shared_engine: SharedEngine,
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, picture in enumerate(moving_picture(60, WIDTH, HEIGHT)):
        Image.fromarray(picture).save(folder / f"{number:03}.png")
    errors: list[str] = []
    logic = LogicCore(scene, makeClient=lambda: shared_engine)
    logic.onError = errors.append
    logic.setModel(demo_checkpoint, config=str(small_config), device="cpu")
    logic.streamVideo(folder, tmp_path / "results")
    logic.setBox(logic.addObject("tool"), BOX, frame=0)
    job: Any = logic.track()
    end = time.monotonic() + 60
    while job.done < 3 and time.monotonic() < end:
        logic.processEvents(0.02)
    folder.rename(tmp_path / "elsewhere")
    assert logic.wait(60)
    assert job.status == "failed"
    assert "images" in errors[0]
    assert list(files_of(logic)) == list(range(job.done)), "what was segmented is kept"
    assert 3 <= job.done < 60
    logic.close()


def test_tracked_whole_in_parts_saved_and_opened(
    logic: LogicCore, scene: Any, tmp_path: Path, file: Path, client: FakeClient
) -> None:
    logic.setBox(1, [10, 10, 30, 30], frame=0)
    logic.track(stop=60, wait=True)
    logic.addPoint(1, 60, 40, frame=FRAMES - 60)
    logic.markGood(FRAMES - 30)
    logic.track(start=FRAMES - 60, wait=True)
    assert client.sent.count("open_video") == 1
    assert "open_frames" not in client.sent
    written = [*range(60), *range(FRAMES - 60, FRAMES - 30), *range(FRAMES - 29, FRAMES)]
    session = logic.currentSession
    assert session.masks.tracked_frames == written
    assert list(files_of(logic)) == written
    some = {k: logic.getMask(1, k) for k in written[::10]}
    video: Any = session.video
    assert video.window.held_bytes <= MEMORY
    path = tmp_path / "scene.mrb"
    logic.saveScene(path)
    assert path.stat().st_size < 3_000_000
    prompts = session.prompt_set()
    logic.close()
    video.remove()

    opened = slicer.vtkMRMLScene()
    load_scene(opened, path)
    again = LogicCore(opened, makeClient=lambda: client)
    browser = opened.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    new_place = tmp_path / "archive.avi"
    file.rename(new_place)
    with pytest.raises(InputError, match=r"no longer the video .*operation\.avi"):
        again.setVideo(browser)
    assert again.session is None
    again.relocateVideo(browser, video=new_place)
    session = again.currentSession
    assert session.masks.tracked_frames == written
    assert list(session.good) == [FRAMES - 30]
    assert session.prompt_set() == prompts
    for k, mask in some.items():
        assert np.array_equal(again.getMask(1, k), mask)
        session.video.current_frame = k
        assert number_in(session.video.frame(k)) == k
        assert np.array_equal(again.getMask(1), mask)
    again.close()
    session.video.remove()


def test_a_full_disk_ends_the_track_and_keeps_what_is_there(
    logic: LogicCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from surgsam2.mrml.streaming import label_folder

    write = label_folder.write_labels

    def until_full(path: Path, *rest: Any) -> None:
        if int(path.stem) >= 4:
            raise OutputError(f"cannot write {path}: no space left")
        write(path, *rest)

    errors: list[str] = []
    logic.onError = errors.append
    logic.setBox(1, [10, 10, 30, 30], frame=0)
    monkeypatch.setattr(label_folder, "write_labels", until_full)
    job = logic.track(stop=20)
    assert logic.wait(20)
    assert job.status == "failed"
    assert "no space left" in errors[0]
    assert list(files_of(logic)) == [0, 1, 2, 3]


def test_a_late_frame_is_shown_by_the_timer(
    logic: LogicCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgsam2.mrml.streaming.stream._SHOW_SECONDS", -1.0)
    changes: list[bool] = []
    logic.onChange = lambda: changes.append(True)
    video: Any = logic.currentSession.video
    video.browser.SetSelectedItemNumber(8000)
    assert changes, "the timer is started"
    assert video.current_frame == 0
    while video.stream.waiting:
        logic.processEvents(0.05)
    assert video.current_frame == 8000


def test_the_panel_works_from_the_file_and_finds_it_again(
    slicer_app: SlicerHost, client: FakeClient, file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    slicer.util.selectModule("SurgSAM2")
    panel = slicer.modules.SurgSAM2Widget
    panel.logic.engine.use_client(lambda: client)
    asked: list[str] = []

    def answer(title: str, filters: str = "") -> str:
        asked.append(title)
        return str(file if len(asked) == 1 else tmp_path / "moved.avi")

    dialogs = f"{type(panel.video).__module__}.dialogs"
    monkeypatch.setattr(f"{dialogs}.ask_file", answer)
    panel.ui.openVideoButton.click()
    panel.ui.streamButton.click()
    slicer_app.process_events()
    session = panel.logic.currentSession
    assert session.video.file == file
    assert panel.context.parameters.video is session.video.browser
    assert panel.ui.loadFrame.isHidden()
    assert panel.ui.locateButton.isHidden()
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == session.video.volume.GetID()
    session.video.browser.SetSelectedItemNumber(7)
    session.video.current_frame = 7
    assert "7 of 10000 (0.28 s)" in panel.ui.frameLabel.text

    panel.ui.addObjectButton.click()
    panel.logic.saveScene(tmp_path / "scene.mrb")
    slicer.mrmlScene.Clear(0)
    slicer_app.process_events()
    file.rename(tmp_path / "moved.avi")
    load_scene(slicer.mrmlScene, tmp_path / "scene.mrb")
    slicer_app.process_events()
    panel.initializeParameterNode()
    slicer_app.process_events()
    browser = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    panel.ui.videoSelector.setCurrentNode(browser)
    slicer_app.process_events()
    assert panel.logic.session is None
    assert "no longer the video" in panel.ui.messageLabel.text
    assert not panel.ui.locateButton.isHidden()
    panel.ui.locateButton.click()
    slicer_app.process_events()
    assert asked[1] == "Where is the video now?"
    assert panel.logic.currentSession.video.current_frame == 7
    assert len(panel.logic.currentSession.objects) == 1
    assert panel.ui.locateButton.isHidden()
    assert panel.ui.messageLabel.text == ""
    slicer.mrmlScene.Clear(0)
    slicer_app.unload_module("SurgSAM2")
