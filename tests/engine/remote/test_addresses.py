"""Addresses that are none, or where nobody answers."""

from __future__ import annotations

import socket
import threading

import pytest

from surgsam2.engine import (
    EngineClient,
    Failed,
)
from surgsam2.engine.remote.dialing import TcpDialer
from surgsam2.errors import InputError
from tests.engine.remote.helpers import (
    connect,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://host:1", "is no address of an engine"),
        ("surgsam2://", "is no address"),
        ("surgsam2://host:99999", "Port out of range"),
        ("surgsam2://host/path", "is no address"),
        ("surgsam2://me@host", "is no address"),
        ("ssh://-oProxyCommand=x", "is no address"),
        ("ssh://-l@host", "is no address"),
        ("ssh://user:secret@host", "is no address"),
        ("gpu7", "write ssh://user@host or surgsam2://host:port"),
    ],
)
def test_addresses_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        EngineClient(address=text)


def test_an_address_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    driver = connect(port)
    driver.client.start()
    failure = driver.until(Failed)
    assert failure.kind == "start"
    assert f"surgsam2://127.0.0.1:{port} does not answer" in failure.message
    assert not driver.client.alive


def test_an_address_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody accepts the connection and says nothing."""
    monkeypatch.setattr("surgsam2.engine.remote.dialing._TCP_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        driver = connect(listener.getsockname()[1])
        driver.client.start()
        failure = driver.until(Failed)
    assert "does not answer as an engine should (timed out)" in failure.message
    assert not driver.client.alive


def test_polling_does_not_wait_for_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event loop goes on while a connection is made, and when it is given up."""
    asked, answered = threading.Event(), threading.Event()

    def dial(self: TcpDialer) -> socket.socket:
        asked.set()
        assert answered.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(TcpDialer, "dial", dial)
    driver = connect(1)
    driver.client.start()
    assert asked.wait(30)
    assert [event.state for event in driver.client.poll()] == ["connecting"]  # type: ignore[union-attr]
    driver.client.load_model("demo")
    driver.client.cancel()
    assert driver.client.poll() == []
    driver.client.close()
    answered.set()
