"""The page is quick enough to work with, and the memory of all its processes does not grow."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from surgsam2.annotate.chooser import VideoChooser
from surgsam2.annotate.engine_link import EngineLink
from surgsam2.annotate.frames import FramePictures
from surgsam2.annotate.project import Project
from surgsam2.annotate.session import Session
from surgsam2.annotate.states import FrameState
from surgsam2.data import generate_clip
from surgsam2.data import write_video as write_clip
from surgsam2.engine import EngineClient
from surgsam2.evaluation.metrics import region_similarity
from surgsam2.model.options import ModelOptions
from surgsam2.storage.image_file import read_pixels
from surgsam2.storage.label_image import label_name
from surgsam2.video import open_video
from tests.annotate.browser import TIMEOUT, Browser, Server, chromium, needs_chromium, serve
from tests.annotate.conftest import Page
from tests.conftest import moving_picture
from tests.video.helpers import write_video

pytestmark = pytest.mark.nightly
FRAMES = 120
Note = Callable[[str, object], None]
"""Keeps a figure with a test: `pytest --junitxml FILE -o junit_family=xunit1` writes it."""


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


MINUTES = 30
"""How long `test_memory_is_flat_in_use` goes on."""


@contextmanager
def opened(
    video: Path, folder: Path, size: tuple[int, int] = (1280, 720)
) -> Iterator[tuple[Browser, Server]]:
    """Open a video with the built-in model in a real browser."""
    with serve(video, folder, "--device", "cpu", folder=folder) as server, chromium() as process:
        page = process.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(server.address)
        browser = Browser(page, folder, size)
        browser.until_data("status", "ready")
        browser.until_data("shown", "0")
        yield browser, server
        assert not browser.problems


@needs_chromium
def test_playing_in_the_browser(a_video: Path, tmp_path: Path, record_property: Note) -> None:
    """A video of 720p with masks plays at 25 frames per second."""
    with opened(a_video, tmp_path / "out") as (browser, _):
        browser.press("o")
        browser.press("r")
        browser.drag((300, 300), (600, 400))
        browser.until("Number(document.body.dataset.pixels) > 0")
        rate = playing_rate(browser, 60)
    figure = f"playing 720p in the browser: {rate:.1f} frames per second"
    record_property("figure", figure)
    assert rate > 24, figure


def playing_rate(browser: Browser, frames: int) -> float:
    """Play some frames from the shown one; return how many the page shows in a second."""
    rate = browser.page.evaluate(
        """(frames) => new Promise((resolve) => {
      const first = Number(document.body.dataset.shown);
      const began = performance.now();
      const look = () => {
        const shown = Number(document.body.dataset.shown) - first;
        if (shown >= frames) resolve((1000 * shown) / (performance.now() - began));
        else requestAnimationFrame(look);
      };
      document.getElementById("play").click();
      look();
    })""",
        frames,
    )
    browser.page.evaluate("() => document.getElementById('play').click()")
    return float(rate)


@needs_chromium
def test_the_mask_of_a_click_in_the_browser(
    a_video: Path, tmp_path: Path, record_property: Note
) -> None:
    """The mask is drawn within 150 ms of a click, in 95 of 100 cases."""
    with opened(a_video, tmp_path / "out") as (browser, _):
        times = click_times(browser, 40)
    median, p95 = np.percentile(times, [50, 95])
    figure = f"click to drawn mask: median {median:.0f} ms, p95 {p95:.0f} ms"
    record_property("figure", figure)
    assert p95 < 150, figure


def click_times(browser: Browser, count: int) -> list[float]:
    """Return the milliseconds from each click to the drawn mask; the first click is left out."""
    page = browser.page
    page.evaluate(
        """() => {
      window.times = [];
      document.getElementById("view").addEventListener("pointerdown", () => {
        const [began, before] = [performance.now(), document.body.dataset.pixels];
        const look = () => {
          if (document.body.dataset.pixels === before) requestAnimationFrame(look);
          else window.times.push(performance.now() - began);
        };
        look();
      }, true);
    }"""
    )
    rng = np.random.default_rng(0)
    width, height = browser.size
    for number in range(count + 1):
        x, y = rng.uniform((0.2 * width, 0.2 * height), (0.8 * width, 0.8 * height))
        page.mouse.click(*browser.at(x, y))
        browser.until(f"window.times.length === {number + 1}")
        page.keyboard.press("Control+z")
        browser.until_data("pixels", "0")
    return [float(t) for t in page.evaluate("() => window.times")[1:]]


@needs_chromium
def test_the_way_to_masks_of_100_frames(tmp_path: Path, record_property: Note) -> None:
    """From the command to exported masks of one object takes less than two minutes.

    The script sees the truth, as a person sees the object: it draws a box around the object,
    tracks, goes to the frame with the worst mask, draws a box there, tracks again and exports.
    """
    clip = generate_clip(2, frames=100, size=(1280, 720), objects=1)
    video = tmp_path / "clip.mp4"
    write_clip(clip, video)
    truth = np.stack([clip.read_labels(index) == 1 for index in range(len(clip))])
    began = time.monotonic()
    with opened(video, tmp_path / "out") as (browser, _):
        ready = time.monotonic()
        browser.press("b")
        draw_box(browser, truth[0])
        browser.track()
        first = list(map(region_similarity, read_masks(tmp_path / "out", len(truth)), truth))
        wrong = int(np.argmin(first))
        browser.show_by_timeline(wrong)
        draw_box(browser, truth[wrong])
        browser.track()
        browser.export()
        ended = time.monotonic()
    last = list(map(region_similarity, read_masks(tmp_path / "out", len(truth)), truth))
    figure = (
        f"{browser.actions} actions; {ready - began:.0f} s until the page is ready, then "
        f"{ended - ready:.0f} s; J {np.mean(first):.3f} (lowest {min(first):.3f}), corrected "
        f"{np.mean(last):.3f} (lowest {min(last):.3f})"
    )
    record_property("figure", figure)
    assert ended - began < 120, figure
    assert np.mean(last) > max(0.8, np.mean(first)), figure


def read_masks(folder: Path, count: int) -> list[np.ndarray]:
    """Return the masks of object 1, (H, W) bool."""
    paths = [folder / "masks" / label_name(index) for index in range(count)]
    return [read_pixels(path).values == 1 for path in paths]


def draw_box(browser: Browser, mask: np.ndarray) -> None:
    """Draw a box around a mask, and wait for the mask that comes of it."""
    before = browser.data("pixels")
    ys, xs = np.nonzero(mask)
    browser.drag((int(xs.min()), int(ys.min())), (int(xs.max()), int(ys.max())))
    browser.until(f"document.body.dataset.pixels !== '{before}'")


@needs_chromium
def test_video_of_4k(tmp_path: Path, record_property: Note) -> None:
    """Frames of 3840 x 2160 pixels are shown, marked and tracked."""
    pictures = moving_picture(4, 3840, 2160)
    video = write_video(
        tmp_path / "clip.mp4",
        8,
        size=(3840, 2160),
        frame=lambda i: av.VideoFrame.from_ndarray(pictures[i % 4], format="rgb24"),
    )
    with opened(video, tmp_path / "out", (3840, 2160)) as (browser, _):
        browser.click(1900, 1000)
        browser.track()
        browser.go(0)
        rate = playing_rate(browser, 6)
        end = time.monotonic() + TIMEOUT
        while sum(count for state, count in browser.states() if state) < 8:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert browser.states()[0] == [FrameState.PROMPTED, 1]
    record_property("figure", f"playing 4K in the browser: {rate:.1f} frames per second")


@needs_chromium
def test_memory_is_flat_in_use(a_video: Path, tmp_path: Path, record_property: Note) -> None:
    """Half an hour of marking, scrubbing and tracking takes no more memory than its first third."""
    with opened(a_video, tmp_path / "out") as (browser, server):
        use(browser, MINUTES * 20)
        before = memory(server)
        use(browser, MINUTES * 40)
        after = memory(server)
    figure = "; ".join(f"{name} {before[name]} to {after[name]} MB" for name in before)
    record_property("figure", figure)
    for name, size in before.items():
        assert after[name] < 1.15 * size + 20, figure


def use(browser: Browser, seconds: float) -> int:
    """Mark, scrub, track, cancel, undo and redo for a while; return how often."""
    end = time.monotonic() + seconds
    rounds = 0
    frames = int(browser.page.evaluate("() => Number(document.getElementById('frame').max)"))
    width, height = browser.size
    rng = np.random.default_rng(1)
    while time.monotonic() < end:
        browser.go(int(rng.integers(0, frames)))
        x, y = rng.uniform((0.2 * width, 0.2 * height), (0.8 * width, 0.8 * height))
        browser.page.mouse.move(*browser.at(x, y))
        browser.page.mouse.click(*browser.at(x, y))
        browser.until("!document.getElementById('undo').disabled")
        for _ in range(25):
            browser.page.keyboard.press("ArrowRight")
        browser.page.keyboard.press("t")
        browser.page.wait_for_timeout(1500)
        browser.page.keyboard.press("Escape")
        browser.until_data("tracking", "false")
        browser.page.keyboard.press("Control+z")
        browser.page.keyboard.press("Control+Shift+z")
        rounds += 1
    return rounds


def memory(server: Server) -> dict[str, int]:
    """Return the memory in MB of the server, its engine, and all processes of the browser."""
    browser = [p for p in descendants(os.getpid()) if b"chrom" in program(p)]
    return {
        "server": proportional_size([server.pid]),
        "engine": proportional_size([server.engine()]),
        "browser": proportional_size(browser),
    }


def program(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return b""


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def proportional_size(pids: list[int]) -> int:
    """Return the sum of the proportional set sizes in MB."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total // 1024
