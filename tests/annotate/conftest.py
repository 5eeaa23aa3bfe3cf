"""A small video and a session whose engine is real."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from surgsam2.annotate.engine_link import EngineLink
from surgsam2.annotate.project import Project
from surgsam2.annotate.session import Session
from surgsam2.engine import EngineClient
from surgsam2.model.options import ModelOptions
from surgsam2.tracking.options import TrackingOptions
from surgsam2.video import open_video
from tests.annotate.browser import Browser, Server, chromium, serve
from tests.video.helpers import write_video

TIMEOUT = 120.0


@pytest.fixture(scope="session")
def video_file(a_clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an mp4 file of 18 frames of 160 x 120 pixels."""
    path = tmp_path_factory.mktemp("annotate") / "clip.mp4"

    def frame(index: int) -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(a_clip[index], format="rgb24").reformat(format="yuv420p")

    return write_video(path, len(a_clip), size=(160, 120), frame=frame)


@pytest.fixture(scope="session")
def long_video(a_clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an mp4 file of 600 frames of 160 x 120 pixels, which goes there and back again."""
    path = tmp_path_factory.mktemp("annotate") / "long.mp4"
    steps = [*range(len(a_clip)), *range(len(a_clip) - 2, 0, -1)]

    def frame(index: int) -> av.VideoFrame:
        image = a_clip[steps[index % len(steps)]]
        return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")

    return write_video(path, 600, size=(160, 120), frame=frame)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Return an empty project for a video of 6 frames of 8 x 5 pixels."""
    with Project(tmp_path / "work", 8, 5, 6) as opened:
        yield opened


class Page:
    """A page of the session: it gives commands and collects events."""

    def __init__(self, session: Session, engine: EngineLink) -> None:
        self.session = session
        self.engine = engine
        self.events: list[dict[str, Any]] = []
        session.connect(self.events.append)

    def do(self, command: str, **values: Any) -> None:
        """Give a command."""
        self.session.handle({"command": command, **values})

    def errors(self) -> list[str]:
        """Return the messages of the errors so far."""
        return [event["message"] for event in self.events if event["type"] == "error"]

    def until(self, wanted: Callable[[], bool]) -> None:
        """Run the session until a condition holds."""

        async def wait() -> None:
            end = time.monotonic() + TIMEOUT
            while not wanted():
                assert time.monotonic() < end, self.events[-5:]
                self.session.step()
                await asyncio.sleep(0.005)

        asyncio.run(wait())


@pytest.fixture(scope="session")
def model_options(demo_checkpoint: Path, small_config: Path) -> ModelOptions:
    """Return the options of a small, fast model."""
    return ModelOptions(model=str(demo_checkpoint), config=str(small_config), device="cpu")


class SharedEngine(EngineLink):
    """One engine for many tests, because its process takes seconds to start."""

    def close(self) -> None:
        """Leave the process to the next test."""

    def end(self) -> None:
        """End the process."""
        super().close()


@pytest.fixture(scope="session")
def shared_engine(model_options: ModelOptions) -> Iterator[SharedEngine]:
    """Return the engine that all tests of a process use."""
    engine = SharedEngine(EngineClient(), model_options)
    yield engine
    engine.end()


@pytest.fixture
def engine(shared_engine: SharedEngine) -> SharedEngine:
    """Return the engine with the options that it has at first."""
    shared_engine.tracking = TrackingOptions()
    return shared_engine


@pytest.fixture
def page(video_file: Path, engine: SharedEngine, tmp_path: Path) -> Iterator[Page]:
    """Return a page that is connected to a session whose engine is ready."""
    with (
        open_video(video_file) as video,
        Project(tmp_path / "out", video.width, video.height, video.frame_count) as project,
    ):
        session = Session(video, video_file, project, engine)
        session.start()
        opened = Page(session, engine)
        opened.until(lambda: engine.ready)
        yield opened
        session.close()


VIDEOS = 40
"""Copies of the video that the server of the browser tests has, one for each test."""
_numbers = count()


@pytest.fixture(scope="session")
def server(
    video_file: Path,
    long_video: Path,
    model_options: ModelOptions,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """Run one `surgsam2 annotate`, with one engine, for all tests in the browser."""
    place = tmp_path_factory.mktemp("served")
    videos, work = place / "videos", place / "work"
    videos.mkdir()
    for number in range(VIDEOS):
        shutil.copy(video_file, videos / f"{number:02d}.mp4")
    shutil.copy(long_video, videos / "long.mp4")
    options = ("--model", model_options.model, "--config", str(model_options.config))
    with serve(videos, work, *options, "--device", "cpu", folder=work) as started:
        yield started


@pytest.fixture(scope="module")
def browser_process() -> Iterator[Any]:
    """Run one Chromium for a file of tests; Playwright keeps an event loop running meanwhile."""
    with chromium() as started:
        yield started


@pytest.fixture
def tab(server: Server, browser_process: Any) -> Iterator[Any]:
    """Return a tab that has opened the page; problems in it fail the test."""
    context = browser_process.new_context(viewport={"width": 1100, "height": 700})
    page = context.new_page()
    page.goto(server.address)
    yield page
    context.close()


@pytest.fixture
def browser(tab: Any, server: Server) -> Iterator[Browser]:
    """Return the page with a video that no other test has opened."""
    name = f"{next(_numbers):02d}"
    opened = Browser(tab, server.folder / f"{name}-annotated")
    opened.until_data("status", "ready")
    tab.select_option("#videos", f"{name}.mp4")
    opened.until(f"document.title.startsWith('{name}.mp4')")
    opened.until_data("status", "ready")
    opened.until_data("shown", "0")
    yield opened
    assert not opened.problems
