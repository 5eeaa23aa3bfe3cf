"""A page of `surgsam2 annotate` in a real browser, for tests and for the pictures of the docs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TIMEOUT = 180.0

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)


@dataclass(frozen=True)
class Server:
    """A running `surgsam2 annotate`."""

    address: str
    """The address with its token."""
    folder: Path
    """The folder of the masks, or of the projects of several videos."""
    pid: int

    def engine(self) -> int:
        """Return the number of the engine's process."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[-1])


@contextlib.contextmanager
def serve(*arguments: str | Path, folder: Path) -> Iterator[Server]:
    """Run `surgsam2 annotate` with these arguments until the end of the block."""
    command = [sys.executable, "-m", "surgsam2", "annotate", *map(str, arguments), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    with process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().partition(": ")[2].strip()
            yield Server(address, folder, process.pid)
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Run Chromium until the end of the block."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Browser:
    """A page of a running `surgsam2 annotate`, and what it shows.

    Args:
        page: the page of Playwright.
        folder: the folder of the project that the page shows.
        size: width and height of the video in pixels.
    """

    def __init__(self, page: Any, folder: Path, size: tuple[int, int] = (160, 120)) -> None:
        self.page = page
        self.folder = folder
        self.size = size
        self.actions = 0
        """Clicks, drags and keys so far."""
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        """Keep errors, but not frames that were asked for just before another video was opened."""
        late = "404" in message.text and "/frames/" in message.location["url"]
        if message.type == "error" and not late:
            self.problems.append(message.text)

    def until(self, script: str) -> Any:
        """Wait until a JavaScript expression is true; the page's policy forbids strings."""
        end = time.monotonic() + TIMEOUT
        while not (value := self.page.evaluate(f"() => {script}")):
            assert time.monotonic() < end, (script, self.described())
            time.sleep(0.02)
        return value

    def described(self) -> Any:
        """Return what tells why something did not happen: texts, states and the focus."""
        return self.page.evaluate(
            """() => ({
          ...document.body.dataset,
          focus: document.activeElement.id || document.activeElement.tagName,
          texts: ["banner", "status", "speed", "frame"].map((id) =>
            document.getElementById(id).value ?? document.getElementById(id).textContent),
        })"""
        )

    def until_data(self, name: str, value: str) -> None:
        """Wait until the page says this of itself; see `data`."""
        self.until(f"document.body.dataset.{name} === '{value}'")

    def until_banner(self, text: str) -> None:
        """Wait until the page tells this."""
        self.until(f"document.getElementById('banner').textContent.includes({json.dumps(text)})")

    def drawn(self) -> None:
        """Wait until the window shows what is due."""
        self.page.evaluate(
            """() => new Promise((resolve) => {
          const wait = (left) => (left ? requestAnimationFrame(() => wait(left - 1)) : resolve());
          wait(4);
        })"""
        )

    def data(self, name: str) -> str:
        """Return what the page says of itself, such as the frame that is shown."""
        return str(self.page.evaluate(f"() => document.body.dataset.{name} ?? ''"))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a pixel of the video is in the window."""
        box = self.page.locator("#view").bounding_box()
        width, height = self.size
        scale = min(box["width"] / width, box["height"] / height)
        left = box["x"] + (box["width"] - width * scale) / 2
        top = box["y"] + (box["height"] - height * scale) / 2
        return left + (x + 0.5) * scale, top + (y + 0.5) * scale

    def click(self, x: float, y: float) -> None:
        """Click on a pixel of the video, and wait for the mask that comes of it."""
        self.until("document.body.dataset.pixels !== undefined")  # the frame is drawn
        before = self.data("pixels")
        self.actions += 1
        self.page.mouse.click(*self.at(x, y))
        self.until(f"document.body.dataset.pixels !== '{before}'")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one pixel of the video to another."""
        self.actions += 1
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*end), steps=4)
        self.page.mouse.up()

    def press(self, key: str) -> None:
        """Press a key."""
        self.actions += 1
        self.page.keyboard.press(key)

    def track(self) -> None:
        """Track forward, and wait for the end, however short the track is."""
        self.page.evaluate(
            """() => {
          window.trackEnded = false;
          const observer = new MutationObserver((changes) => {
            const ran = changes.some((change) => change.oldValue === "true");
            window.trackEnded ||= ran && document.body.dataset.tracking === "false";
          });
          const attributeFilter = ["data-tracking"];
          observer.observe(document.body, { attributeFilter, attributeOldValue: true });
        }"""
        )
        self.press("t")
        self.until("window.trackEnded")

    def go(self, frame: int) -> None:
        """Show a frame."""
        self.page.fill("#frame", str(frame))
        self.page.keyboard.press("Enter")
        self.until_data("shown", str(frame))

    def show_by_timeline(self, frame: int) -> None:
        """Show a frame by a click on the timeline."""
        self.actions += 1
        box = self.page.locator("#timeline").bounding_box()
        frames = int(self.page.get_attribute("#timeline", "aria-valuemax")) + 1
        step = (box["width"] - 90) / frames
        self.page.mouse.click(box["x"] + 90 + (frame + 0.5) * step, box["y"] + 8)
        self.until_data("shown", str(frame))

    def export(self) -> str:
        """Export the chosen formats, and return what the page says of the files."""
        self.actions += 1
        self.page.click("#export")
        self.until("document.getElementById('exported').textContent.includes('written:')")
        said = str(self.page.inner_text("#exported"))
        assert said.startswith("written"), said
        return said

    def saved(self) -> dict[str, Any]:
        """Return the content of the project file, once everything is saved."""
        self.until("document.getElementById('status').textContent === 'saved'")
        content: dict[str, Any] = json.loads((self.folder / "annotation.json").read_text())
        return content

    def states(self) -> list[list[int]]:
        """Return the runs of states of the first object, once they are saved."""
        states: list[list[int]] = self.saved()["objects"][0]["states"]
        return states

    def until_state(self, state: int, count: int) -> None:
        """Wait until the first object has a run of this state and length in its file."""
        end = time.monotonic() + TIMEOUT
        while [state, count] not in (states := self.states()):
            assert time.monotonic() < end, states
            time.sleep(0.05)


def kill(pid: int) -> None:
    """Kill a process, as a lack of memory does."""
    os.kill(pid, signal.SIGKILL)
