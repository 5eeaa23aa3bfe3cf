"""How processes and connections end; each test starts an engine process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from surgsam2 import PromptSet
from surgsam2.engine import ConnectionChanged, Died, Failed, Progress, Ready, Tracked, VideoOpened
from surgsam2.engine.client.engine_process import EngineProcess
from surgsam2.engine.protocol import messages
from surgsam2.engine.protocol.framing import PROTOCOL_VERSION, encode_packet
from tests.engine.conftest import TIMEOUT, Driver, load, new_driver

if not sys.platform.startswith("linux"):  # looks processes up in /proc, makes scripts executable
    pytest.skip("needs Linux", allow_module_level=True)

BOX = PromptSet().add(object_id=1, frame=0, box=[10, 30, 50, 80])


def process_of(driver: Driver) -> EngineProcess:
    assert isinstance(driver.client.transport, EngineProcess)
    return driver.client.transport


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = new_driver()
    yield driver
    driver.client.close()


def runs(pid: int) -> bool:
    """Return whether the process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    end = time.monotonic() + TIMEOUT
    while runs(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not runs(pid)


def tracking(driver: Driver, clip: np.ndarray, checkpoint: Path, config: Path) -> int:
    """Return the process id of an engine that is in the middle of a track."""
    driver.client.start()
    ready = driver.until(Ready)
    load(driver, checkpoint, config)
    long = np.concatenate([clip] * 10)
    driver.until(VideoOpened, driver.client.open_frames(180, 160, 120, 25.0, lambda k: long[k]))
    driver.until(Tracked, driver.client.track(BOX))
    return ready.pid


def test_stopped_and_going_on(
    driver: Driver, a_clip: np.ndarray, demo_checkpoint: Path, small_config: Path
) -> None:
    """A process that runs and does nothing is reported once."""
    pid = tracking(driver, a_clip, demo_checkpoint, small_config)
    os.kill(pid, signal.SIGSTOP)
    try:
        silent = driver.when(lambda e: isinstance(e, ConnectionChanged) and e.state == "silent")
        assert "has said nothing for 6 seconds" in silent.message
        driver.seen += driver.client.poll(1.0)
    finally:
        os.kill(pid, signal.SIGCONT)
    driver.when(lambda e: isinstance(e, ConnectionChanged) and e.state == "connected")
    driver.until(Tracked)
    assert sum(isinstance(e, ConnectionChanged) for e in driver.seen) == 2


def test_killed_while_tracking_and_restarted(
    driver: Driver, a_clip: np.ndarray, demo_checkpoint: Path, small_config: Path
) -> None:
    pid = tracking(driver, a_clip, demo_checkpoint, small_config)
    folder = Path(process_of(driver).folder)
    assert folder.is_dir()
    os.kill(pid, signal.SIGKILL)
    assert driver.until(Died).exit_code == -signal.SIGKILL
    assert not driver.client.alive
    assert not folder.exists()
    number = driver.client.track(BOX)
    failure = driver.until(Failed, number)
    assert failure.kind == "crash"
    assert "ended with code -9" in failure.message
    assert "restart" in failure.message
    driver.client.live_frame(a_clip[0], 0.0)  # nobody listens; no harm
    driver.client.cancel()

    driver.client.restart()
    load(driver, demo_checkpoint, small_config)
    assert driver.client.alive


def test_closed_by_the_application(
    driver: Driver, a_clip: np.ndarray, demo_checkpoint: Path, small_config: Path
) -> None:
    """The process ends when the connection does, and removes the files."""
    pid = tracking(driver, a_clip, demo_checkpoint, small_config)
    process = process_of(driver)
    process.hang_up()
    assert gone(pid)
    assert not Path(process.folder).exists()


APPLICATION = """
import os, sys, time
import numpy as np
from surgsam2 import PromptSet
from surgsam2.engine import *
client = EngineClient()
client.start()
client.load_model({checkpoint!r}, config={config!r}, device="cpu")
client.open_frames(500, 160, 120, 25.0, lambda k: np.full((120, 160, 3), k % 250, np.uint8))
client.track(PromptSet().add(object_id=1, frame=0, box=[10, 30, 50, 80]))
while True:
    for event in client.poll(0.05):
        if isinstance(event, (Failed, Died)):
            sys.exit(str(event))
        if isinstance(event, Tracked):
            print(client.transport.pid, client.transport.folder, flush=True)
            os.kill(os.getpid(), 9)
"""


def test_the_application_is_killed(demo_checkpoint: Path, small_config: Path) -> None:
    code = APPLICATION.format(checkpoint=str(demo_checkpoint), config=str(small_config))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, folder = done.stdout.split(maxsplit=1)
    assert gone(int(pid))
    assert not Path(folder.strip()).exists()


def test_bytes_that_are_no_message(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process reports them and ends; it does not hang."""
    driver.client.start()
    ready = driver.until(Ready)
    with monkeypatch.context() as patch:
        patch.setattr(messages, "encode_packet", lambda *_: b"\xff\xff\xff\xff and more")
        driver.client.cancel()
    failure = driver.until(Failed)
    assert failure.kind == "protocol"
    assert driver.until(Died).exit_code == 4
    assert gone(ready.pid)


# the following tests never load torch, because the process ends before


def stand_in(tmp_path: Path, code: str) -> str:
    """Return the path of a script that stands in for Python."""
    script = tmp_path / "python-of-another-kind"
    script.write_text(f"#!{sys.executable} -S\nimport sys, json, socket, os, time\n{code}")
    script.chmod(0o755)
    return str(script)


def test_no_such_python() -> None:
    driver = new_driver(python="/nowhere/python")
    driver.client.start()
    failure = driver.until(Failed)
    assert (failure.kind, driver.client.alive) == ("start", False)
    assert failure.message.startswith("/nowhere/python: the engine cannot be started")


def test_a_python_without_the_packages(tmp_path: Path) -> None:
    """A bare environment uses this surgsam2; the package that it lacks is named."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True
    )
    python = tmp_path / "bare" / "bin" / "python"
    driver = new_driver(python=python)
    driver.client.start()
    failure = driver.until(Failed)
    assert failure.kind == "install"
    assert "is missing or broken there" in failure.message
    assert f"{python} -m pip install" in failure.message
    assert not driver.client.alive


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("sys.version_info = (3, 9, 1)", "install", "is Python 3.9.1; surgsam2 needs 3.10"),
        (
            "os.makedirs('old/surgsam2'); open('old/surgsam2/__init__.py', 'w').close()\n"
            "sys.path.insert(0, 'old')",
            "version",
            "too old; update it",
        ),
    ],
)
def test_another_python(tmp_path: Path, code: str, kind: str, words: str) -> None:
    run = "import runpy\nsys.argv = sys.argv[2:]\nsys.path.insert(0, '')\n"
    run += "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    driver = new_driver(python=stand_in(tmp_path, f"{code}\n{run}"))
    driver.client.start()
    failure = driver.until(Failed)
    assert failure.kind == kind
    assert words in failure.message


HELLO = """
settings = json.loads(sys.stdin.readline())
def say(**hello):
    text = json.dumps({"type": "hello", **hello}).encode()
    s = socket.create_connection(("127.0.0.1", settings["port"]))
    s.sendall(len(text).to_bytes(4, "big") + text)
    return s
"""


def test_another_protocol(tmp_path: Path) -> None:
    code = HELLO + "s = say(token=settings['token'], protocol=99, surgsam2='9.9')\ntime.sleep(60)"
    driver = new_driver(python=stand_in(tmp_path, code))
    driver.client.start()
    failure = driver.until(Failed)
    assert failure.kind == "version"
    assert "(9.9)" in failure.message
    assert not driver.client.alive


def test_wrong_tokens_are_refused(tmp_path: Path) -> None:
    """Connections with a wrong token are closed; the one with the right token is accepted."""
    code = HELLO + (
        f"version = {PROTOCOL_VERSION}\n"
        "for token in ('', 'x' * 64, '\\udcff', 7, None):\n"
        "    s = say(token=token, protocol=version)\n"
        "    assert s.recv(1) == b''\n"
        "s = socket.create_connection(('127.0.0.1', settings['port'])); s.sendall(b'\\xff' * 9)\n"
        "assert s.recv(1) == b''\n"
        "s = say(token=settings['token'], protocol=version)\n"
        "text = json.dumps({'type': 'progress', 'request': 1, 'done': 1, 'total': 1, 'fps': 1})\n"
        "s.sendall(len(text).to_bytes(4, 'big') + text.encode()); time.sleep(60)"
    )
    driver = new_driver(python=stand_in(tmp_path, code))
    driver.client.start()
    assert driver.until(Progress).fps == 1.0
    driver.client.close()
    assert not driver.client.alive


def test_a_process_that_sends_nonsense(tmp_path: Path) -> None:
    code = HELLO + (
        f"s = say(token=settings['token'], protocol={PROTOCOL_VERSION})\n"
        "s.sendall(b'\\x00\\x00\\x00\\x02[]'); time.sleep(60)"
    )
    driver = new_driver(python=stand_in(tmp_path, code))
    driver.client.start()
    assert driver.until(Failed).kind == "protocol"
    assert not driver.client.alive


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("b'\\x7f\\xff\\xff\\xff{}'", Failed),  # a header of 2 GB
        ('b\'\\x00\\x00\\x01\\x00{"type": "ready\'', Died),  # half a header
        ("whole({'type': 'ready', 'blobs': [1 << 29]}) + b'x' * 1000", Died),  # half of its bytes
        ("whole({'type': 'ready', 'blobs': [1 << 40]})", Failed),
        ("whole({'type': 'previewed', 'request': 1, 'width': 4, 'height': 4, 'ids': []})", Failed),
    ],
)
def test_messages_cut_or_out_of_bounds(tmp_path: Path, sent: str, kind: type) -> None:
    """The socket closes while the process still runs; the process is ended and reported."""
    code = HELLO + (
        "def whole(header):\n"
        "    text = json.dumps(header).encode()\n"
        "    return len(text).to_bytes(4, 'big') + text\n"
        f"s = say(token=settings['token'], protocol={PROTOCOL_VERSION})\n"
        f"s.sendall({sent}); s.close(); time.sleep(60)"
    )
    driver = new_driver(python=stand_in(tmp_path, code))
    driver.client.start()
    driver.until(kind)
    assert not driver.client.alive


def test_the_last_words_of_a_process_that_has_gone(tmp_path: Path) -> None:
    """They are read also when the application polls late and has sent much itself."""
    code = HELLO + (
        f"s = say(token=settings['token'], protocol={PROTOCOL_VERSION})\n"
        "text = json.dumps({'type': 'failed', 'kind': 'install', 'message': 'no torch'}).encode()\n"
        "s.sendall(len(text).to_bytes(4, 'big') + text); os._exit(3)"
    )
    driver = new_driver(python=stand_in(tmp_path, code))
    driver.client.start()
    for _ in range(5):
        driver.client.load_model()
    assert gone(process_of(driver).pid)
    assert driver.until(Failed).message == "no torch"
    driver.client.poll(1.0)
    assert not driver.client.alive


def test_an_end_without_a_word_is_reported_whatever_its_code(tmp_path: Path) -> None:
    code = HELLO + f"say(token=settings['token'], protocol={PROTOCOL_VERSION}); os._exit(3)"
    driver = new_driver(python=stand_in(tmp_path, code))
    driver.client.start()
    assert driver.until(Died).exit_code == 3


def test_silent_connections_do_not_keep_the_engine_out(tmp_path: Path) -> None:
    code = HELLO + (
        "many = [socket.create_connection(('127.0.0.1', settings['port'])) for _ in range(20)]\n"
        f"s = say(token=settings['token'], protocol={PROTOCOL_VERSION})\n"
        "text = json.dumps({'type': 'progress', 'request': 1, 'done': 1, 'total': 1, 'fps': 1})\n"
        "s.sendall(len(text).to_bytes(4, 'big') + text.encode()); time.sleep(60)"
    )
    driver = new_driver(python=stand_in(tmp_path, code))
    driver.client.start()
    driver.until(Progress)
    driver.client.close()


def test_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    driver = new_driver()
    driver.client.start()
    failure = driver.until(Failed)
    assert (failure.kind, driver.client.alive) == ("start", False)
    assert "cannot write the folder for temporary files" in failure.message


def test_a_relative_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    stand_in(tmp_path / "bin", "sys.exit('here')")
    monkeypatch.chdir(tmp_path)
    driver = new_driver(python="bin/python-of-another-kind")
    driver.client.start()
    assert driver.until(Died).stderr_tail == "here"


def test_a_crash_before_it_is_ready(tmp_path: Path) -> None:
    driver = new_driver(python=stand_in(tmp_path, "sys.exit('no room\\nat all')"))
    driver.client.start()
    died = driver.until(Died)
    assert (died.exit_code, died.stderr_tail) == (1, "no room\nat all")


def test_requests_before_start() -> None:
    driver = new_driver()
    assert not driver.client.alive
    for number in (
        driver.client.load_model(),
        driver.client.open_frames(3, 4, 4, 25.0, lambda k: np.zeros((4, 4, 3), np.uint8)),
        driver.client.start_live(4, 4),
    ):
        driver.until(Failed, number) if not driver.of(number, Failed) else None
        assert driver.of(number, Failed)[0].kind == "crash"
    assert driver.client.poll(10.0) == []


def test_encode_is_what_the_stand_ins_speak() -> None:
    header = json.dumps({"a": 1, "type": "hello"}).encode()
    assert encode_packet("hello", {"a": 1}) == len(header).to_bytes(4, "big") + header
