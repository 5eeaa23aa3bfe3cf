"""What goes wrong while the page is open: one message each, and nothing is lost."""

from __future__ import annotations

import http.server
import json
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from surgsam2.annotate.project import Project
from surgsam2.annotate.states import FrameState
from surgsam2.model.options import ModelOptions
from tests.annotate.browser import Browser, Server, needs_chromium, serve
from tests.conftest import REPOSITORY

pytestmark = needs_chromium


def test_a_second_tab_is_told(browser: Browser) -> None:
    second = Browser(browser.page.context.new_page(), browser.folder)
    second.page.goto(browser.page.url)
    second.until_banner("open in another tab")
    browser.click(20, 60)
    browser.page.close()
    second.page.reload()
    second.until("document.querySelectorAll('#objects li').length === 1")


def test_a_disk_that_fills_up(browser: Browser, server: Server) -> None:
    """The kernel refuses every file of the server that grows beyond a few bytes."""
    browser.click(20, 60)
    browser.saved()
    before, pixels = files(browser.folder), browser.data("pixels")
    page = browser.page
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (8, hard))
    try:
        page.keyboard.press("r")
        browser.drag((120, 20), (140, 30))
        browser.until_banner("cannot write")
        page.wait_for_timeout(300)
        assert browser.data("pixels") == pixels
        assert files(browser.folder) == before
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
    browser.drag((120, 20), (140, 30))
    browser.until(f"document.body.dataset.pixels !== '{pixels}'")
    assert browser.saved()


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_project_of_another_version_or_video(browser: Browser, server: Server) -> None:
    """It is refused with its reason; the video before stays open, and the file is not touched."""
    own = browser.page.title()
    for name, change, message in (
        ("38", {"version": 99}, "has version 99"),
        ("39", {"video": {"width": 5, "height": 5, "frames": 5}}, "is of another video"),
    ):
        folder = server.folder / f"{name}-annotated"
        path = folder / "annotation.json"
        with Project(folder, 160, 120, 18) as project:
            project.save()
        content = json.loads(path.read_text()) | change
        path.write_text(json.dumps(content))
        browser.page.select_option("#videos", f"{name}.mp4")
        browser.until_banner(message)
        assert browser.page.title() == own
        assert json.loads(path.read_text()) == content


class _Stranger(http.server.BaseHTTPRequestHandler):
    """A page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>stranger</title>")

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def stranger() -> Iterator[str]:
    """Serve a page of another origin; return its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_page_of_another_origin_gets_nothing(
    browser: Browser, server: Server, stranger: str
) -> None:
    """The browser sends the cookie along, because only the port differs; the origin betrays it."""
    host = urlsplit(server.address).netloc
    page = browser.page.context.new_page()
    page.goto(stranger)
    assert page.context.cookies(f"http://{host}")
    answers = page.evaluate(
        """async (host) => {
      const fetched = async (path, options) => {
        try {
          const values = { credentials: "include", ...options };
          return await (await fetch(`http://${host}${path}`, values)).text();
        } catch (error) { return "refused"; }
      };
      const socket = await new Promise((resolve) => {
        const opened = new WebSocket(`ws://${host}/session`);
        opened.onmessage = () => resolve("a message");
        opened.onclose = () => resolve("refused");
      });
      const post = { method: "POST", body: "{}" };
      return [await fetched("/labels/0"), await fetched("/export", post), socket];
    }""",
        host,
    )
    assert answers == ["refused", "refused", "refused"]
    page.close()
    browser.click(20, 60)


def write_frames(folder: Path) -> None:
    folder.mkdir()
    for index in range(60):
        Image.new("RGB", (160, 120), (index, 90, 0)).save(folder / f"{index:03d}.png")


def test_frames_that_vanish_and_a_stale_address(
    browser_process: Any, model_options: ModelOptions, video_file: Path, tmp_path: Path
) -> None:
    """A video that is gone is told, and what was marked stays; a stale token is told, too."""
    frames, out = tmp_path / "frames", tmp_path / "out"
    write_frames(frames)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--model", model_options.model, "--config", str(model_options.config))
    options = (*options, "--device", "cpu", "--port", str(port))
    page = browser_process.new_context(viewport={"width": 1100, "height": 700}).new_page()
    browser = Browser(page, out)
    with serve(frames, out, *options, folder=out) as server:
        page.goto(server.address)
        browser.until_data("shown", "0")
        browser.press("o")
        browser.until("document.querySelectorAll('#objects li').length === 1")
        page.keyboard.press("r")
        browser.drag((20, 20), (40, 30))
        browser.until("Number(document.body.dataset.pixels) > 0")
        shutil.rmtree(frames)
        page.keyboard.press("End")
        browser.until_banner("059.png")
        pixels = browser.data("pixels")
        browser.drag((60, 20), (80, 30))  # on the picture of frame 0, which is still seen
        browser.until_state(FrameState.NONE, 59)
        page.keyboard.press("Home")
        browser.until(f"document.body.dataset.pixels !== '{pixels}'")
        command = [sys.executable, "-m", "surgsam2", "annotate", str(video_file)]
        again = subprocess.run(
            [*command, str(tmp_path / "second"), "--port", str(port), "--no-browser"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (again.returncode, again.stderr.count("\n")) == (2, 1)
        assert f"port {port}" in again.stderr
    browser.until_banner("The connection to surgsam2 is lost. Everything so far is saved")
    write_frames(frames)
    with serve(frames, out, *options, folder=out) as server:
        browser.until_banner("The address is not valid any more")
        page.goto(server.address)
        browser.until("Number(document.body.dataset.pixels) > 0")
        assert page.locator("#objects li").count() == 1
    page.context.close()
