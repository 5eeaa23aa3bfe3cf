"""A small video and a session whose engine is real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
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
from surgsam2.video import open_video
from tests.video.helpers import write_video

TIMEOUT = 120.0


@pytest.fixture(scope="session")
def video_file(a_clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an mp4 file of 18 frames of 160 x 120 pixels."""
    path = tmp_path_factory.mktemp("annotate") / "clip.mp4"

    def frame(index: int) -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(a_clip[index], format="rgb24").reformat(format="yuv420p")

    return write_video(path, len(a_clip), size=(160, 120), frame=frame)


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


@pytest.fixture
def page(video_file: Path, model_options: ModelOptions, tmp_path: Path) -> Iterator[Page]:
    """Return a page that is connected to a session whose engine is ready."""
    with (
        open_video(video_file) as video,
        Project(tmp_path / "out", video.width, video.height, video.frame_count) as project,
    ):
        engine = EngineLink(EngineClient(), model_options)
        session = Session(video, video_file, project, engine)
        session.start()
        opened = Page(session, engine)
        opened.until(lambda: any(e.get("status") == "ready" for e in opened.events))
        yield opened
        session.close()
        engine.close()
