"""What tests of engines on other machines have in common."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surgsam2 import PromptSet
from surgsam2.engine import (
    EngineClient,
    Failed,
    ModelLoaded,
    Tracked,
)
from surgsam2.engine.protocol.framing import PROTOCOL_VERSION, PacketDecoder
from surgsam2.engine.protocol.messages import Message
from surgsam2.engine.remote.greeting import (
    Accepted,
    Attach,
    Queued,
    Refused,
    read_packet,
    to_bytes,
)
from surgsam2.engine.remote.server import EngineServer
from tests.engine.conftest import Driver

TOKEN, OTHER_TOKEN = "a" * 32, "b" * 32


Serve = Callable[..., EngineServer]


BOX = PromptSet().add(object_id=1, frame=0, box=[10, 30, 50, 80])


class Relay:
    """Passes bytes between a client and a server, and cuts their connections when told to."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def cut(self) -> None:
        """End all connections now."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open = []

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _run(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self._target))
            self.connections += 1
            self._open += [here, there]
            threading.Thread(target=self._carry, args=(here, there), daemon=True).start()

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        """Pass bytes in both directions, then close both sockets, which no thread uses any more."""
        with here, there:
            back = threading.Thread(target=self._pass, args=(there, here), daemon=True)
            back.start()
            self._pass(here, there)
            back.join()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2**14):
                target.sendall(data)
        for each in (source, target):  # the other direction ends with this one
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def connect(port: int, token: str = TOKEN) -> Driver:
    return Driver(EngineClient(address=f"surgsam2://127.0.0.1:{port}", token=token))


def make_certificate(folder: Path, host: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make a certificate for an IP address, and its key; skip the test without OpenSSL."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder.mkdir(exist_ok=True)
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         f"/CN={host}", "-addext", f"subjectAltName=IP:{host}",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def loaded(driver: Driver) -> ModelLoaded:
    number = driver.client.load_model("small.pt", config="small.yaml", device="cpu")
    return driver.until(ModelLoaded, number)


def gone(server: EngineServer) -> None:
    """Wait until the server has no session."""
    end = time.monotonic() + 30
    while server.running and time.monotonic() < end:
        time.sleep(0.02)
    assert not server.running


def assert_same(events: list[Tracked], expected: list) -> None:
    assert [e.result.frame_index for e in events] == [r.frame_index for r in expected]
    for got, want in zip((e.result for e in events), expected, strict=True):
        assert np.array_equal(got.masks, want.masks)
        assert np.array_equal(got.iou_scores, want.iou_scores)


class Stranger:
    """A client that sends whatever a test wants."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(30.0)
        self.decoder = PacketDecoder()

    def attach(self, token: str = TOKEN, session: str | None = None, received: int = 0) -> Message:
        self.socket.sendall(to_bytes(Attach(token, PROTOCOL_VERSION, "1", session, received)))
        message = self.answer()
        self.decoder.accept_large()
        return message

    def answer(self) -> Message:
        while (packet := next(self.decoder.packets(), None)) is None:
            data = self.socket.recv(2**16)
            assert data, "the connection was closed"
            self.decoder.feed(data)
        message = read_packet(packet, Accepted, Refused, Queued)
        assert message is not None
        return message

    def is_closed(self) -> bool:
        """Wait until the server ends the connection."""
        try:
            while self.socket.recv(2**16):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


def sent_raw(remote: Driver, message: Message) -> Failed:
    transport = remote.client.transport
    assert transport is not None
    transport.send(message)
    return remote.until(Failed)
