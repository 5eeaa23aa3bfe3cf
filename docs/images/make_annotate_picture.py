"""Makes docs/images/annotate.png: the page of `surgsam2 annotate` with a real video.

The video lies in a folder with a generated one, so that the page has a list of videos. The objects
of a prompt file are marked on frame 0 as a person does it, named and tracked. Needs Chromium and
Playwright.

    python docs/images/make_annotate_picture.py endo.mp4 docs/images/real-clip.json
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

import surgsam2  # noqa: E402
from surgsam2.data import generate_clip, write_video  # noqa: E402
from surgsam2.prompts import PromptSet, load_prompts  # noqa: E402
from tests.annotate.browser import CHROMIUM, FLAGS  # noqa: E402

TARGET = REPOSITORY / "docs" / "images" / "annotate.png"
VIEW = {"width": 1280, "height": 800}
SHOWN = 120
"""Index of the frame in the picture."""


def main(video: str, prompts: str) -> None:
    """Serve the page, work on it, and take the picture."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "videos"
        folder.mkdir()
        shutil.copy(video, folder)
        write_video(generate_clip(seed=9, frames=16), folder / "generated.mp4")
        command = [sys.executable, "-m", "surgsam2", "annotate", str(folder), f"{place}/work"]
        with subprocess.Popen(
            [*command, "--no-browser"], stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stdout is not None
                address = server.stdout.readline().partition(": ")[2].strip()
                with sync_playwright() as driver:
                    chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                    page = chromium.new_context(viewport=VIEW).new_page()
                    page.goto(address)
                    page.select_option("#videos", Path(video).name)
                    with surgsam2.open_video(video) as opened:
                        size = (opened.width, opened.height)
                    work_on(page, load_prompts(prompts), size)
                    page.screenshot(path=str(TARGET))
                    chromium.close()
            finally:
                server.send_signal(signal.SIGINT)


def work_on(page: Any, prompts: PromptSet, size: tuple[int, int]) -> None:
    """Mark the objects, name them, track them, and show a frame."""
    until(page, "document.body.dataset.status === 'ready'")
    until(page, "document.body.dataset.shown === '0'")
    for number, item in enumerate(prompts.objects, 1):
        page.click("#add")
        until(page, f"document.querySelectorAll('#objects li').length === {number}")
        page.locator("#objects input[type=text]").last.fill(item.name)
        page.keyboard.press("Enter")
        prompt = item.prompts[0]
        if prompt.box is not None:
            before = page.evaluate("() => document.body.dataset.pixels")
            page.keyboard.press("b")
            page.mouse.move(*at(page, size, *prompt.box[:2]))
            page.mouse.down()
            page.mouse.move(*at(page, size, *prompt.box[2:]))
            page.mouse.up()
            until(page, f"document.body.dataset.pixels !== '{before}'")
        for point, label in zip(prompt.points, prompt.labels, strict=True):
            before = page.evaluate("() => document.body.dataset.pixels")
            page.keyboard.press("p" if label else "n")
            page.mouse.click(*at(page, size, *point))
            until(page, f"document.body.dataset.pixels !== '{before}'")
    page.keyboard.press("p")
    page.click("[data-track=forward]")
    until(page, "document.body.dataset.tracking === 'true'")
    until(page, "document.body.dataset.tracking === 'false'")
    page.fill("#frame", str(SHOWN))
    page.keyboard.press("Enter")
    until(page, f"document.body.dataset.shown === '{SHOWN}'")
    until(page, "document.getElementById('status').textContent === 'saved'")


def at(page: Any, size: tuple[int, int], x: float, y: float) -> tuple[float, float]:
    """Return where a pixel of the video, whose size is given, is in the window."""
    box = page.locator("#view").bounding_box()
    scale = min(box["width"] / size[0], box["height"] / size[1])
    left = box["x"] + (box["width"] - size[0] * scale) / 2
    top = box["y"] + (box["height"] - size[1] * scale) / 2
    return float(left + (x + 0.5) * scale), float(top + (y + 0.5) * scale)


def until(page: Any, condition: str) -> None:
    """Wait until a condition of the page holds; the page's policy forbids strings as functions."""
    end = time.monotonic() + 300
    while not page.evaluate(f"() => {condition}"):
        if time.monotonic() > end:
            raise TimeoutError(f"{condition}: {page.inner_text('#banner')}")
        page.wait_for_timeout(50)


if __name__ == "__main__":
    main(*sys.argv[1:])
