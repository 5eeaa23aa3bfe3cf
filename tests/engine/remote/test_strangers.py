"""What strangers and wrong clients cannot do to a server."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from pathlib import Path

import pytest

from surgsam2.engine import (
    EngineClient,
    Failed,
    Ready,
    VideoOpened,
)
from surgsam2.engine.protocol.framing import encode_packet
from surgsam2.engine.protocol.requests import LoadModel, OpenUpload, OpenVideo
from surgsam2.engine.remote.greeting import (
    Accepted,
    Attach,
    Refused,
    to_bytes,
)
from surgsam2.engine.remote.server import EngineServer
from surgsam2.model.options import ModelOptions
from tests.engine.conftest import Driver
from tests.engine.remote.helpers import (
    OTHER_TOKEN,
    TOKEN,
    Serve,
    Stranger,
    connect,
    gone,
    loaded,
    make_certificate,
    sent_raw,
)


@pytest.mark.parametrize("token", ["", "c" * 32, "ü"])
def test_a_wrong_token(server: EngineServer, token: str) -> None:
    driver = connect(server.port, token)
    driver.client.start()
    failure = driver.until(Failed)
    assert "the token is wrong" in failure.message
    assert not driver.client.alive
    assert server.running == 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00\x10\x00\x00" + b"x" * 100,  # a header of 1 MB is announced
        encode_packet("attach", {}, [b"x" * 100]),
        encode_packet("attach", {"token": 7}),
        encode_packet("data", {"number": 1}),
        b"\x00" * 4,
    ],
)
def test_strangers_are_refused_at_once(server: EngineServer, data: bytes) -> None:
    stranger = Stranger(server.port)
    stranger.socket.sendall(data)
    assert stranger.is_closed()
    assert server.running == 0


def test_another_version(server: EngineServer) -> None:
    stranger = Stranger(server.port)
    stranger.socket.sendall(to_bytes(Attach(TOKEN, 99, "9.9", None, 0)))
    refused = stranger.answer()
    assert isinstance(refused, Refused)
    assert refused.kind == "version"
    assert "install the same version on both" in refused.message


def test_slow_and_silent_strangers(server: EngineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are closed, and keep nobody out meanwhile."""
    monkeypatch.setattr("surgsam2.engine.remote.server.GREETING_SECONDS", 1.0)
    strangers = [Stranger(server.port) for _ in range(20)]
    for stranger in strangers:
        stranger.socket.sendall(b"\x00")
    driver = connect(server.port)
    driver.client.start()
    driver.until(Ready)
    assert all(stranger.is_closed() for stranger in strangers)
    driver.client.close()
    gone(server)


def test_the_session_of_another_client(server: EngineServer) -> None:
    owner = Stranger(server.port)
    accepted = owner.attach()
    assert isinstance(accepted, Accepted)
    for token, session in ((OTHER_TOKEN, accepted.session), (TOKEN, "0" * 32), (TOKEN, "")):
        other = Stranger(server.port)
        refused = other.attach(token, session)
        assert isinstance(refused, Refused)
        assert "the session has ended" in refused.message
    again = Stranger(server.port)
    assert isinstance(again.attach(TOKEN, accepted.session), Accepted)
    assert owner.is_closed()  # there is one connection at a time
    again.socket.sendall(encode_packet("leave", {}))
    gone(server)


@pytest.mark.parametrize(
    "data",
    [
        encode_packet("data", {"number": 2}, [b"x"]),  # piece 1 is missing
        encode_packet("data", {"number": 1}),
        encode_packet("acknowledged", {"received": 10**6}),
        encode_packet("acknowledged", {}),
        encode_packet("dance", {}),
        encode_packet("data", {"number": 1}, [b"x" * 2**20, b"y"]),  # larger than a piece
        b"\xff" * 100,
    ],
)
def test_packets_out_of_bounds_end_the_session(server: EngineServer, data: bytes) -> None:
    stranger = Stranger(server.port)
    assert isinstance(stranger.attach(), Accepted)
    with contextlib.suppress(ConnectionError):  # The server may close before all is sent.
        stranger.socket.sendall(data)
    assert stranger.is_closed()
    gone(server)


def test_files_of_the_server_cannot_be_named(remote: Driver, models: Path, a_file: Path) -> None:
    for path in (str(a_file), "/etc/passwd", "../small.pt"):
        failure = sent_raw(remote, OpenVideo(10**6, path))
        assert "must send the video" in failure.message
    for name in (str(models / "small.pt"), "../models/small.pt", "/etc/passwd", "..", ".", ""):
        for options in (ModelOptions(model=name), ModelOptions(config=name)):
            failure = sent_raw(remote, LoadModel(10**6, options))
            assert "this server has no" in failure.message
    for sha256, size, suffix in (
        ("../x", 5, ".mp4"),
        ("0" * 64, 0, ".mp4"),
        ("0" * 64, 2**60, ".mp4"),
    ):
        assert sent_raw(remote, OpenUpload(10**6, sha256, size, suffix)).kind == "input"


def test_a_video_that_is_not_what_was_announced(remote: Driver, tmp_path: Path) -> None:
    path = tmp_path / "secret name.mp4"
    path.write_bytes(b"no video" * 1000)
    failure = remote.until(Failed, remote.client.open_video(path))
    assert failure.kind == "video"
    assert "secret" not in failure.message
    assert tempfile.gettempdir() not in failure.message
    assert "folders" in remote.until(Failed, remote.client.open_video(tmp_path)).message
    assert "cannot be read" in remote.until(Failed, remote.client.open_video("none.mp4")).message
    assert "has no model" in remote.until(Failed, remote.client.load_model("best.pt")).message


def test_nothing_is_kept_unless_asked(serve: Serve, a_file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    server = serve(cache=cache)
    driver = connect(server.port)
    driver.client.start()
    driver.until(VideoOpened, driver.client.open_video(a_file))
    driver.client.close()
    gone(server)
    (kept,) = cache.iterdir()
    assert kept.read_bytes() == a_file.read_bytes()
    assert "Müller" not in kept.name


def test_tls(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the certificate of the operator is accepted, and only with TLS."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = serve(tls=context)
    address = f"surgsam2://127.0.0.1:{server.port}"
    plain = connect(server.port)
    plain.client.start()
    assert "does not answer as an engine should" in plain.until(Failed).message
    other, _ = make_certificate(tmp_path / "other")
    stranger = Driver(EngineClient(address=address, token=TOKEN, authorities=other))
    stranger.client.start()
    assert "is not accepted" in stranger.until(Failed).message
    driver = Driver(EngineClient(address=address, token=TOKEN, authorities=certificate))
    driver.client.start()
    driver.until(Ready)
    loaded(driver)
    driver.client.close()
    gone(server)
