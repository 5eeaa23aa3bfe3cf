"""`surgsam2 serve` as a process, and what it refuses."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from surgsam2.cli import main
from surgsam2.engine import (
    Ready,
)
from tests.engine.remote.helpers import (
    connect,
)


def test_serve(tmp_path: Path, models: Path) -> None:
    """The command serves, answers health checks, and ends its engines on SIGTERM."""
    token = tmp_path / "token"
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ports.append(listener.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "surgsam2", "serve", "--port", str(ports[0]), "--token-file",
         str(token), "--health-port", str(ports[1]), "--models", str(models)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "without TLS, for this machine alone" in process.stdout.readline()
        assert token.stat().st_mode & 0o077 == 0
        driver = connect(ports[0], token.read_text().strip())
        driver.client.start()
        ready = driver.until(Ready)
        health = json.loads(urlopen(f"http://127.0.0.1:{ports[1]}/health").read())
        assert (health["status"], health["running"]) == ("ok", 1)
        metrics = urlopen(f"http://127.0.0.1:{ports[1]}/metrics").read().decode()
        assert "surgsam2_running 1" in metrics
        process.terminate()
        assert process.wait(20) == 0
        end = time.monotonic() + 20
        while Path(f"/proc/{ready.pid}").exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not Path(f"/proc/{ready.pid}").exists()
        driver.client.close()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "needs TLS: give --cert and --key"),
        (["--host", "gpu.example.org"], "needs TLS"),
        (["--cert", "a.pem"], "belong together"),
        (["--cert", "a.pem", "--key", "b.pem"], "cannot be used"),
        (["--sessions", "0"], "--sessions must be at least 1"),
        (["--models", "nowhere"], "there is no such folder"),
        (["--port", "99999999"], "cannot listen there"),
    ],
)
def test_what_serve_refuses(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--token-file", str(tmp_path / "token"), *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "has no token"), (b"# x\n\n", "has no token"), (b"short\n", "at least 16"),
     (b"\xff\xfe" * 20, "cannot be read")],
)  # fmt: skip
def test_token_files_that_are_refused(
    tmp_path: Path, content: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_bytes(content)
    assert main(["serve", "--token-file", str(tmp_path / "token")]) == 2
    assert words in capsys.readouterr().err
