"""The page asks before a video leaves this computer: a real browser and a real server."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.annotate.browser import Browser, needs_chromium, serve
from tests.conftest import REPOSITORY
from tests.engine.remote.conftest import models  # noqa: F401 - a fixture
from tests.engine.remote.helpers import make_certificate

pytestmark = [
    needs_chromium,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"),
        reason="reaches this machine by 0.0.0.0, which is no loopback address",
    ),
]
HOST = "0.0.0.0"


@pytest.fixture
def engine(
    models: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[str, Path]]:
    """Run `surgsam2 serve` with TLS; return its address and its certificate."""
    certificate, key = make_certificate(tmp_path, HOST)
    monkeypatch.setenv("SURGSAM2_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path / "cache"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "surgsam2", "serve", "--port", str(port)]
    command += ["--cert", str(certificate), "--key", str(key), "--models", str(models)]
    command += ["--token-file", str(tmp_path / "token")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            assert "with TLS" in process.stdout.readline()
            yield f"surgsam2://{HOST}:{port}", certificate
        finally:
            process.terminate()


def test_nothing_is_sent_before_a_person_agrees(
    engine: tuple[str, Path], browser_process: Any, video_file: Path, tmp_path: Path
) -> None:
    """Who declines is asked again after a reload; who agrees, never again for this server."""
    address, certificate = engine
    out, agreed = tmp_path / "out", tmp_path / "cache" / "engines-agreed.txt"
    options = ("--model", "small.pt", "--config", "small.yaml", "--device", "cpu")
    options = (*options, "--engine", address, "--engine-ca", str(certificate))
    page = browser_process.new_context(viewport={"width": 1100, "height": 700}).new_page()
    browser = Browser(page, out)
    with serve(video_file, out, *options, folder=out) as server:
        page.goto(server.address)
        browser.until("document.getElementById('consent').open")
        said = page.inner_text("#consent")
        assert "The video leaves this computer" in said
        assert address in said
        assert browser.data("status") == "waiting for your consent"
        assert page.evaluate("() => document.activeElement.id") == "decline"  # Enter sends nothing
        page.click("#decline")
        browser.until_data("shown", "0")
        page.mouse.click(*browser.at(20, 60))
        browser.until_banner("once you agree that the video is sent there")
        assert not agreed.exists()
        page.reload()
        browser.until("document.getElementById('consent').open")
        page.click("#agree")
        browser.until_data("status", "ready")
        browser.click(20, 60)
        assert agreed.read_text() == f"{address}\n"
        page.reload()
        browser.until("Number(document.body.dataset.pixels) > 0")
        assert not page.evaluate("() => document.getElementById('consent').open")
        browser.track()
        assert page.inner_text("#speed") == "complete"
    page.context.close()
