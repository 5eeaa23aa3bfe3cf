"""The page is quick enough to work with, and its server's memory does not grow."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from surgsam2.annotate.chooser import VideoChooser
from surgsam2.annotate.engine_link import EngineLink
from surgsam2.annotate.frames import FramePictures
from surgsam2.annotate.project import Project
from surgsam2.annotate.session import Session
from surgsam2.engine import EngineClient
from surgsam2.model.options import ModelOptions
from surgsam2.video import open_video
from tests.annotate.conftest import Page
from tests.conftest import moving_picture
from tests.video.helpers import write_video

pytestmark = pytest.mark.nightly
FRAMES = 120
Note = Callable[[str, object], None]


@pytest.fixture(scope="module")
def a_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video of 120 frames of 1280 x 720 pixels."""
    pictures = moving_picture(24, 1280, 720)
    return write_video(
        tmp_path_factory.mktemp("speed") / "clip.mp4",
        FRAMES,
        size=(1280, 720),
        frame=lambda i: av.VideoFrame.from_ndarray(pictures[i % 24], format="rgb24"),
    )


def test_scrubbing(a_video: Path, record_property: Note) -> None:
    """Frames come at 25 per second."""

    async def scrub(pictures: FramePictures) -> float:
        began = time.perf_counter()
        for index in range(FRAMES):
            await pictures.jpeg(index)
        return FRAMES / (time.perf_counter() - began)

    with open_video(a_video) as video:
        pictures = FramePictures(video)
        rate = asyncio.run(scrub(pictures))
        pictures.close()
    figure = f"scrubbing: {rate:.0f} frames per second"
    record_property("figure", figure)
    assert rate > 25, figure


def test_the_mask_of_a_click(a_video: Path, tmp_path: Path, record_property: Note) -> None:
    """The mask comes within 150 ms of a click, in 95 of 100 cases."""
    times = []
    with (
        open_video(a_video) as video,
        Project(tmp_path / "out", video.width, video.height, video.frame_count) as project,
    ):
        engine = EngineLink(EngineClient(), ModelOptions(device="cpu"))
        session = Session(video, a_video, project, engine)
        session.start()
        page = Page(session, engine)
        page.until(lambda: any(e.get("status") == "ready" for e in page.events))
        page.do("add_object")
        rng = np.random.default_rng(0)
        for number in range(41):
            x, y = rng.uniform((100, 100), (1180, 620))
            began = time.perf_counter()
            page.do("clear_prompt", object=1, frame=7)
            page.do("add_point", object=1, frame=7, x=float(x), y=float(y), positive=True)
            page.events.clear()
            page.until(lambda: any(e["type"] == "labels" for e in page.events))
            if number:  # The first click waits for the frame's features.
                times.append(time.perf_counter() - began)
        session.close()
        engine.close()
    p95 = float(np.percentile(times, 95)) * 1000
    figure = f"click to mask: median {np.median(times) * 1000:.0f} ms, p95 {p95:.0f} ms"
    record_property("figure", figure)
    assert p95 < 150, figure


def test_an_hour_opens_quickly(tmp_path: Path, record_property: Note) -> None:
    frames = 90_000
    path = write_video(tmp_path / "hour.mp4", frames, size=(64, 48))
    began = time.perf_counter()
    with VideoChooser(
        {"hour.mp4": path},
        lambda path: tmp_path / "out",
        EngineLink(EngineClient(), ModelOptions()),
    ) as chooser:
        seconds = time.perf_counter() - began
        assert chooser.session.video.frame_count == frames
    figure = f"an hour's video opens in {seconds:.2f} s"
    record_property("figure", figure)
    assert seconds < 2, figure


def test_memory_is_flat(a_video: Path, record_property: Note) -> None:
    """Going through a video again and again takes no more memory than the first times."""

    async def scrub(pictures: FramePictures, rounds: int) -> None:
        for _ in range(rounds):
            for index in range(FRAMES):
                await pictures.jpeg(index)

    with open_video(a_video) as video:
        pictures = FramePictures(video, budget=8 * 2**20)
        asyncio.run(scrub(pictures, 2))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        asyncio.run(scrub(pictures, 5))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pictures.close()
    figure = f"peak memory: {before / 1024:.0f} MB, then {after / 1024:.0f} MB"
    record_property("figure", figure)
    assert after - before < 40 * 1024, figure
