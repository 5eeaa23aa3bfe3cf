"""Engines that ssh starts; a script stands in for ssh and runs the command here."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from surgsam2 import segment_video
from surgsam2.engine import (
    ConnectionChanged,
    EngineClient,
    Failed,
    Finished,
    Previewed,
    Ready,
    Tracked,
    VideoOpened,
)
from surgsam2.model.build import SurgSAM2Model
from surgsam2.tracking.options import TrackingOptions
from tests.engine.conftest import Driver
from tests.engine.remote.helpers import BOX, assert_same, loaded

CHANGED = """@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Host key for changed has changed and you have requested strict checking.
Host key verification failed."""
UNKNOWN = """No ED25519 host key is known for new and you have requested strict checking.
Host key verification failed."""


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the temporary folder of the other machine; paths of sockets must be short."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.fixture
def ssh(
    tmp_path: Path, there: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[int]]:
    """Put a stand-in for ssh on the PATH; return what lists the processes that it has become."""
    pids = tmp_path / "pids"
    pids.mkdir()
    script = tmp_path / "ssh"
    script.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, sys\n"
        "host, command = sys.argv[sys.argv.index('--') + 1 :]\n"
        "print('welcome to', host, file=sys.stderr)\n"
        "if host == 'nobody@gpu': sys.exit('Permission denied (publickey).')\n"
        f"if host == 'changed': sys.exit({CHANGED!r})\n"
        f"if host == 'new': sys.exit({UNKNOWN!r})\n"
        f"pathlib.Path({str(pids)!r}, str(os.getpid())).touch()\n"
        f"settings = {json.dumps(json.dumps({'models': str(models)}))}\n"
        "os.execvp('sh', ['sh', '-c', f\"exec {command} --settings '{settings}'\"])\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return lambda: [int(path.name) for path in pids.iterdir()]


def cut(ssh: Callable[[], list[int]]) -> bool:
    """Kill the newest process of ssh; return whether there was one."""
    for pid in sorted(ssh(), reverse=True):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        return True
    return False


def sessions_left(folder: Path) -> list[Path]:
    """Return the sockets of the sessions that are kept, once there are none, or after 20 s."""
    end = time.monotonic() + 20
    while (left := list(folder.glob("surgsam2-sessions-*/*"))) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def connected(ssh: Callable[[], list[int]]) -> Driver:
    driver = Driver(EngineClient(sys.executable, address="ssh://user@gpu:22"))
    driver.client.start()
    return driver


@pytest.mark.parametrize(
    ("cuts", "repeats"), [(3, 2), pytest.param(20, 6, marks=pytest.mark.nightly)]
)
def test_a_connection_that_is_cut_loses_and_doubles_nothing(
    cuts: int,
    repeats: int,
    ssh: Callable[[], list[int]],
    a_model: SurgSAM2Model,
    a_clip: np.ndarray,
    there: Path,
) -> None:
    long = np.concatenate([a_clip] * repeats)
    driver = connected(ssh)
    pid = driver.until(Ready).pid
    assert all(os.getsid(one) != os.getsid(0) for one in ssh()), "Ctrl-C here would end ssh"
    loaded(driver)
    driver.until(
        VideoOpened, driver.client.open_frames(len(long), 160, 120, 25.0, lambda k: long[k])
    )
    number = driver.client.track(BOX, TrackingOptions(allow_overlap=True))
    chance, done = random.Random(7), 0
    while not driver.of(number, Finished):
        driver.when(lambda e: isinstance(e, Tracked | Finished))
        if done < cuts and chance.random() < 0.4:
            done += cut(ssh)
    assert done == cuts
    assert len(ssh()) > cuts / 4
    assert_same(driver.of(number, Tracked), list(segment_video(a_model, long, BOX)))
    driver.until(Previewed, driver.client.preview(0, BOX))  # the last cut is over
    states = [e.state for e in driver.seen if isinstance(e, ConnectionChanged)]
    assert states[:2] == ["connecting", "connected"]
    assert {"lost", "connected"} == set(states[2:])
    (kept,) = there.glob("surgsam2-sessions-*")
    assert kept.stat().st_mode & 0o077 == 0
    driver.client.close()
    assert not sessions_left(there)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_session_is_gone(ssh: Callable[[], list[int]], there: Path) -> None:
    """The other machine was started anew: there is one plain sentence."""
    driver = connected(ssh)
    pid = driver.until(Ready).pid
    (place,) = there.glob("surgsam2-sessions-*/*")
    place.unlink()
    cut(ssh)
    failure = driver.until(Failed)
    assert "the session has ended on the server; open the video and track again" in failure.message
    assert not driver.client.alive
    os.killpg(os.getpgid(pid), signal.SIGKILL)  # of the keeper


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("nobody@gpu", "no engine could be started there (welcome to nobody@gpu Permission denied"),
        ("changed", "another key than before, so ssh does not connect; nothing was sent"),
        ("new", "ssh does not know the key of this machine yet; connect once by hand"),
    ],
)
def test_what_ssh_refuses(ssh: Callable[[], list[int]], host: str, words: str) -> None:
    refused = Driver(EngineClient(sys.executable, address=f"ssh://{host}"))
    refused.client.start()
    failure = refused.until(Failed)
    assert failure.kind == "start"
    assert f"ssh://{host}: " in failure.message
    assert words in failure.message
    assert not refused.client.alive
    assert not ssh()


def test_a_folder_of_others_is_not_used(ssh: Callable[[], list[int]], there: Path) -> None:
    folder = there / f"surgsam2-sessions-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    driver = connected(ssh)
    assert "is open to other users; remove it" in driver.until(Failed).message


def test_there_is_no_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    driver = Driver(EngineClient(address="ssh://gpu"))
    driver.client.start()
    assert "ssh cannot be started" in driver.until(Failed).message
