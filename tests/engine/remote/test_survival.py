"""A server that is started anew, and one without memory or room for videos."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from surgsam2 import PromptSet
from surgsam2.engine import Died, Failed, Previewed, Ready, VideoOpened
from tests.engine.conftest import Driver
from tests.engine.remote.helpers import BOX, connect, loaded


def served(port: int, models: Path, *options: str) -> subprocess.Popen[str]:
    """Start ``surgsam2 serve`` in a process of its own, and wait until it listens."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "surgsam2", "serve", "--port", str(port),
            "--token-file", str(models.parent / f"token-{port}"), "--models", str(models), *options,
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "without TLS" in process.stdout.readline()
    return process


def client(port: int, models: Path) -> Driver:
    driver = connect(port, (models.parent / f"token-{port}").read_text().strip())
    driver.client.start()
    driver.until(Ready)
    return driver


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
    return number


def test_a_server_that_is_killed_and_started_anew(port: int, models: Path, a_file: Path) -> None:
    """The client says so in a sentence, and the next start works."""
    process = served(port, models)
    driver = client(port, models)
    process.kill()
    process.wait()
    process = served(port, models)
    try:
        failure = driver.until(Failed)
        assert "the session has ended on the server; open the video and track" in failure.message
        assert not driver.client.alive
        driver.client.start()
        loaded(driver)
        driver.until(VideoOpened, driver.client.open_video(a_file))
        driver.until(Previewed, driver.client.preview(0, BOX))
        driver.client.close()
    finally:
        process.kill()
        process.wait()


def test_memory_that_runs_out_ends_the_request_alone(port: int, models: Path) -> None:
    """The session goes on with what fits."""
    process = served(port, models, "--memory-gb", "2")
    try:
        driver = client(port, models)
        loaded(driver)
        for side, objects, kind in ((8000, 64, Failed), (100, 1, Previewed)):
            frame = np.zeros((side, side, 3), np.uint8)
            driver.client.open_frames(1, side, side, 25.0, lambda _, frame=frame: frame)
            prompts = PromptSet()
            for number in range(1, objects + 1):
                prompts.add(object_id=number, frame=0, box=[10, 10, side - 10, side - 10])
            request = driver.client.preview(0, prompts)
            event = driver.when(lambda e: isinstance(e, Failed | Previewed | Died))
            assert isinstance(event, kind), event
            assert event.request == request
            if isinstance(event, Failed):
                assert event.kind == "memory"
        driver.client.close()
    finally:
        process.kill()
        process.wait()


def test_a_disk_without_room(port: int, models: Path, a_file: Path, tmp_path: Path) -> None:
    """A video that does not fit is refused; the session goes on, and no part of it stays."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk can only be made by root")
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)], check=False
    )
    if made.returncode:
        pytest.skip("this system mounts no small disk")
    try:
        process = served(port, models, "--cache", str(disk))
        try:
            driver = client(port, models)
            failure = driver.until(Failed, driver.client.open_video(a_file))
            assert failure.kind == "output"
            assert str(disk) not in failure.message
            assert "no space left" in failure.message.lower()
            assert list(disk.iterdir()) == []
            loaded(driver)
            driver.client.close()
        finally:
            process.kill()
            process.wait()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
