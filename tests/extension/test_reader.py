"""Videos dropped on Slicer or loaded by name, and the module's own self-test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from surgsam2.mrml import VideoNodes
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
    """The module, loaded; its panel has not been opened."""
    yield slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    slicer_app.unload_module("SurgSAM2")


def test_a_dropped_video_is_in_the_scene_and_in_the_view(module: Any, a_file: Path) -> None:
    manager = slicer.app.coreIOManager()
    assert manager.fileType(str(a_file)) == "SurgicalVideo"
    browser = slicer.util.loadNodeFromFile(str(a_file), manager.fileType(str(a_file)))
    video = VideoNodes.of(browser)
    assert (video.frame_count, video.width, video.height) == (FRAMES, WIDTH, HEIGHT)
    assert video.fps == pytest.approx(20)
    assert video.time_of(3) == pytest.approx(0.15)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == video.volume.GetID()


def test_a_part_of_a_video_by_properties(module: Any, a_file: Path) -> None:
    options = {"start": 2, "stop": 10, "stride": 4, "scale": 0.5, "name": "part"}
    browser = slicer.util.loadNodeFromFile(str(a_file), "SurgicalVideo", options)
    video = VideoNodes.of(browser)
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


def test_other_files_are_left_to_other_readers(module: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("x")
    assert slicer.app.coreIOManager().fileType(str(file)) == "NoFile"


def test_a_missing_decoder_is_a_message(
    module: Any, a_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("surgsam2.video.")]:
        if name.rpartition(".")[2] in ("container", "decoder", "index", "color"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RuntimeError, match="Install what is missing"):
        slicer.util.loadNodeFromFile(str(a_file), "SurgicalVideo", {})


def test_the_self_test_passes(module: Any) -> None:
    module.pythonHalf.runTest(msec=0)
