"""Videos that are dropped on Slicer or loaded by name, and the module's self-test."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from surgsam2.errors import InputError
from surgsam2.mrml import open_video_nodes
from tests.extension.conftest import FRAMES, HEIGHT, MODULE_FOLDER, WIDTH, write_mp4
from tests.slicer_host.host import SlicerHost


@pytest.fixture(scope="session")
def a_file(pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mp4 of 12 frames at 20 frames/s."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_mp4(path, pictures, rate=20)
    return path


@pytest.fixture
def module(slicer_app: SlicerHost) -> Iterator[Any]:
    """The module, which is loaded but whose panel was not opened."""
    yield slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    slicer_app.unload_module("SurgSAM2")


def test_a_dropped_video_is_in_the_scene_and_in_the_view(module: Any, a_file: Path) -> None:
    manager = slicer.app.coreIOManager()
    assert manager.fileType(str(a_file)) == "SurgicalVideo"
    browser = slicer.util.loadNodeFromFile(str(a_file), manager.fileType(str(a_file)))
    video = open_video_nodes(browser)
    assert (video.frame_count, video.width, video.height) == (FRAMES, WIDTH, HEIGHT)
    assert video.fps == pytest.approx(20)
    assert video.time_of(3) == pytest.approx(0.15)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == video.volume.GetID()


def test_a_part_of_a_video_by_properties(module: Any, a_file: Path) -> None:
    options = {"start": 2, "stop": 10, "stride": 4, "scale": 0.5, "name": "part"}
    browser = slicer.util.loadNodeFromFile(str(a_file), "SurgicalVideo", options)
    video = open_video_nodes(browser)
    assert (video.frame_count, video.width, video.name) == (2, WIDTH // 2, "part")
    assert [video.frame_number(k) for k in range(2)] == [2, 6]


@pytest.mark.parametrize("content", [b"", b"this is no video" * 99])
def test_an_unreadable_file_is_a_message_and_nothing_is_added(
    module: Any, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "broken.mp4"
    file.write_bytes(content)
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(RuntimeError, match=r"broken\.mp4"):
        slicer.util.loadNodeFromFile(str(file), "SurgicalVideo", {})
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_what_does_not_fit_is_refused_with_advice(
    module: Any, a_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgsam2.mrml.loading.free_memory", lambda: 300_000)
    with pytest.raises(RuntimeError, match="load at most"):
        slicer.util.loadNodeFromFile(str(a_file), "SurgicalVideo", {})


@pytest.mark.parametrize("wanted", [True, False])
def test_what_does_not_fit_can_stay_in_its_file(
    module: Any, a_file: Path, tmp_path: Path, slicer_app: SlicerHost,
    monkeypatch: pytest.MonkeyPatch, wanted: bool,
) -> None:  # fmt: skip
    for place in ("surgsam2.mrml.loading", "SurgSAM2Lib.files.loading_options"):
        monkeypatch.setattr(f"{place}.free_memory", lambda: 300_000)
    file = Path(shutil.copy(a_file, tmp_path / "operation.mp4"))
    slicer_app.dialogs.answers = [wanted]
    if not wanted:
        with pytest.raises(RuntimeError, match="load at most"):
            slicer.util.loadNodeFromFile(str(file), "SurgicalVideo", {})
        return
    video = open_video_nodes(slicer.util.loadNodeFromFile(str(file), "SurgicalVideo", {}))
    assert "operation.mp4 does not fit in memory" in slicer_app.dialogs.texts[0]
    assert (video.file, video.frame_count) == (file, FRAMES)
    video.remove()


def test_other_files_are_left_to_other_readers(module: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("x")
    assert slicer.app.coreIOManager().fileType(str(file)) == "NoFile"


@pytest.fixture
def no_decoder(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the packages that decode video or resize frames."""
    for name in [name for name in sys.modules if name.startswith("surgsam2.video.")]:
        if name.rpartition(".")[2] in ("container", "decoder", "index", "color"):
            monkeypatch.delitem(sys.modules, name)
    for package in ("av", "cv2"):
        monkeypatch.setitem(sys.modules, package, None)


@pytest.fixture
def another_python(slicer_app: SlicerHost) -> Iterator[None]:
    """Set the other Python to the one that runs the tests."""
    import qt

    qt.QSettings().setValue("SurgSAM2/python", sys.executable)
    yield
    qt.QSettings().setValue("SurgSAM2/python", "")


def test_a_missing_decoder_is_a_message(no_decoder: None, a_file: Path) -> None:
    with pytest.raises(RuntimeError, match=r"Install\.\.\."):
        slicer.util.loadNodeFromFile(str(a_file), "SurgicalVideo", {})


def test_another_python_decodes_what_slicers_cannot(
    no_decoder: None, another_python: None, a_file: Path
) -> None:
    options = {"start": 2, "stop": 10, "stride": 4, "scale": 0.5}
    part = open_video_nodes(slicer.util.loadNodeFromFile(str(a_file), "SurgicalVideo", options))
    assert (part.frame_count, part.width, part.height) == (2, WIDTH // 2, HEIGHT // 2)
    assert [part.time_of(k) for k in range(2)] == pytest.approx([0.1, 0.3])
    with pytest.raises(ImportError):
        import av  # noqa: F401


def test_the_panel_loads_what_another_python_decodes(
    module: Any, slicer_app: SlicerHost, no_decoder: None, another_python: None, a_file: Path
) -> None:
    slicer.util.selectModule("SurgSAM2")
    panel = slicer.modules.SurgSAM2Widget
    panel.video.look_at(a_file)
    with pytest.raises(InputError, match="decoded by another Python"):
        panel.video.stream()
    panel.ui.loadButton.click()
    slicer_app.process_events()
    assert panel.logic.session.video.frame_count == FRAMES
    assert panel.logic.session.video.fps == pytest.approx(20)
    assert panel.video.pending is None


def test_what_another_python_cannot_read_is_a_message(
    no_decoder: None, another_python: None, tmp_path: Path
) -> None:
    file = tmp_path / "broken.mp4"
    file.write_bytes(b"this is no video" * 99)
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(RuntimeError, match=r"broken\.mp4"):
        slicer.util.loadNodeFromFile(str(file), "SurgicalVideo", {})
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_the_self_test_passes(module: Any) -> None:
    module.pythonHalf.runTest(msec=0)
