"""The page in a real browser: click, track, correct, export; then the files are compared."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surgsam2.model.options import ModelOptions
from tests.conftest import REPOSITORY

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TIMEOUT = 120.0


class Browser:
    """A page of a running `surgsam2 annotate`, and what it shows."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)

    def until(self, script: str) -> Any:
        """Wait until a JavaScript function is true; the page's policy forbids strings."""
        end = time.monotonic() + TIMEOUT
        while not (value := self.page.evaluate(script)):
            assert time.monotonic() < end, (script, self.page.inner_text("#banner"))
            time.sleep(0.02)
        return value

    def data(self, name: str) -> str:
        """Return what the page says of itself, such as the frame that is shown."""
        return str(self.page.evaluate(f"() => document.body.dataset.{name} ?? ''"))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a pixel of the 160 x 120 video is in the window."""
        box = self.page.locator("#view").bounding_box()
        scale = min(box["width"] / 160, box["height"] / 120)
        left = box["x"] + (box["width"] - 160 * scale) / 2
        top = box["y"] + (box["height"] - 120 * scale) / 2
        return left + (x + 0.5) * scale, top + (y + 0.5) * scale

    def track(self) -> None:
        self.page.keyboard.press("t")
        self.until("() => document.body.dataset.tracking === 'true'")
        self.until("() => document.body.dataset.tracking === 'false'")

    def states(self) -> list[list[int]]:
        """Return the runs of states of the first object, once they are saved."""
        self.until("() => document.getElementById('status').textContent === 'saved'")
        content = json.loads((self.folder / "annotation.json").read_text())
        states: list[list[int]] = content["objects"][0]["states"]
        return states


@pytest.fixture
def browser(video_file: Path, model_options: ModelOptions, tmp_path: Path) -> Iterator[Browser]:
    """Start `surgsam2 annotate` and open its page."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "surgsam2",
        "annotate",
        str(video_file),
        str(out),
        "--no-browser",
    ]
    command += ["--model", model_options.model, "--config", str(model_options.config)]
    with subprocess.Popen(
        [*command, "--device", "cpu"], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().partition(": ")[2].strip()
            with playwright.sync_playwright() as driver:
                chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = chromium.new_context(viewport={"width": 1100, "height": 700}).new_page()
                opened = Browser(page, out)
                page.goto(address)
                opened.until("() => document.body.dataset.status === 'ready'")
                opened.until("() => document.body.dataset.shown === '0'")
                yield opened
                assert not opened.problems
                chromium.close()
        finally:
            server.send_signal(signal.SIGINT)
    assert server.returncode == 0


def test_click_track_correct_export(browser: Browser) -> None:
    page = browser.page
    page.mouse.click(*browser.at(20, 60))
    browser.until("() => Number(document.body.dataset.pixels) > 0")
    browser.track()
    assert browser.states()[0] == [2, 1]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    browser.until("() => document.body.dataset.shown === '11'")
    before = browser.data("pixels")
    page.keyboard.press("r")
    page.mouse.move(*browser.at(120, 20))
    page.mouse.down()
    page.mouse.move(*browser.at(140, 30))
    page.mouse.up()
    browser.until(f"() => document.body.dataset.pixels !== '{before}'")
    page.keyboard.press("Control+z")
    browser.until(f"() => document.body.dataset.pixels === '{before}'")
    page.keyboard.press("Control+Shift+z")
    browser.until(f"() => document.body.dataset.pixels !== '{before}'")
    browser.until("() => document.getElementById('status').textContent === 'saved'")
    page.click("#export")
    browser.until("() => document.getElementById('exported').textContent.startsWith('written')")
    coco = json.loads((browser.folder / "annotations.coco.json").read_text())
    assert {image["frame_index"] for image in coco["images"]} == set(range(18))
    assert (browser.folder / "frames.csv").is_file()
    assert (browser.folder / "masks" / "00011.png").is_file()


def test_a_reload_loses_nothing(browser: Browser) -> None:
    page = browser.page
    page.mouse.click(*browser.at(20, 60))
    browser.until("() => Number(document.body.dataset.pixels) > 0")
    pixels = browser.data("pixels")
    page.reload()
    browser.until(f"() => document.body.dataset.pixels === '{pixels}'")
    assert page.locator("#objects li").count() == 1


def test_absent_range_by_dragging_the_timeline(browser: Browser) -> None:
    page = browser.page
    page.mouse.click(*browser.at(20, 60))
    browser.until("() => Number(document.body.dataset.pixels) > 0")
    browser.track()
    box = page.locator("#timeline").bounding_box()
    step = (box["width"] - 90) / 18
    page.mouse.move(box["x"] + 90 + 6.5 * step, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 90 + 9.5 * step, box["y"] + 8, steps=4)
    page.mouse.up()
    assert page.inner_text("#range") == "selected: 6 to 9"
    page.click("[data-mark=absent]")
    browser.until("() => document.getElementById('undo').title === 'Undo: mark as absent'")
    time.sleep(1.5)  # the next save
    assert [5, 4] in browser.states()


def test_typing_is_not_a_shortcut(browser: Browser) -> None:
    page = browser.page
    page.click("#add")
    page.locator("#objects input[type=text]").fill("target")
    page.keyboard.press("Enter")
    browser.until("() => document.querySelector('#objects input[type=text]').value === 'target'")
    assert browser.data("tracking") == "false"
    assert page.inner_text("#banner") == ""


def test_a_second_tab_is_told(browser: Browser) -> None:
    second = browser.page.context.new_page()
    second.goto(browser.page.url)
    end = time.monotonic() + TIMEOUT
    while "open in another tab" not in second.inner_text("#banner"):
        assert time.monotonic() < end
        time.sleep(0.05)
    second.close()
