"""Fixtures: scenes with a video, and the module's logic with a fake engine client."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs the slicer-core package")

import slicer

import surgsam2
from surgsam2.mrml import load_video
from tests.conftest import REPOSITORY, moving_picture
from tests.extension.fake_client import FakeClient
from tests.extension.shared_engine import SharedEngine
from tests.slicer_host.fixtures import slicer_app, slicer_host  # noqa: F401

MODULE_FOLDER = REPOSITORY / "SurgSAM2Extension" / "SurgSAM2"
sys.path.insert(0, str(MODULE_FOLDER))  # Slicer adds the folders of its modules too

from SurgSAM2Lib.logic import LogicCore  # noqa: E402

FRAMES, WIDTH, HEIGHT = 12, 160, 120


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """A clip of 12 frames, (12, 120, 160, 3) uint8."""
    return moving_picture(FRAMES, WIDTH, HEIGHT)


@pytest.fixture
def scene() -> Any:
    return slicer.vtkMRMLScene()


@pytest.fixture
def a_video(scene: Any, pictures: np.ndarray) -> Any:
    """The sequence browser of a video in the scene."""
    return load_video(scene, surgsam2.open_video(pictures), name="clip").browser


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture(scope="session")
def shared_engine() -> Iterator[SharedEngine]:
    """The client of an engine process that all tests of the run use, one after the other."""
    engine = SharedEngine()
    yield engine
    engine.end()


@pytest.fixture
def logic(scene: Any, a_video: Any, client: FakeClient) -> Iterator[LogicCore]:
    """The logic with a video and one object, "tool"."""
    core = LogicCore(scene, makeClient=lambda: client)
    core.setVideo(a_video)
    core.addObject("tool", "#11aa55")
    yield core
    core.close()


@pytest.fixture
def settings() -> Iterator[Any]:
    """The application's settings; those of the module are removed after the test."""
    import qt

    store = qt.QSettings()
    yield store
    store.remove("SurgSAM2")


def write_mp4(path: Path, pictures: np.ndarray, rate: int = 25) -> None:
    """Write pictures, (T, H, W, 3) uint8, as a video file."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
