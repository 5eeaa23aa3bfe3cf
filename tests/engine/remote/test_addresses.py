"""Addresses that are none, or where nobody answers."""

from __future__ import annotations

import socket

import pytest

from surgsam2.engine import (
    EngineClient,
    Failed,
)
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
