"""Engines on other machines: the server, sessions that survive, and what strangers cannot do."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import av
import numpy as np
import pytest

import surgsam2
from surgsam2 import PromptSet, segment_video
from surgsam2.cli import main
from surgsam2.engine import (
    ConnectionChanged,
    Died,
    EngineClient,
    Failed,
    Finished,
    LiveTracked,
    ModelLoaded,
    Previewed,
    Ready,
    Tracked,
    VideoOpened,
)
from surgsam2.engine.client.frame_sources import jpeg_of
from surgsam2.engine.protocol.framing import PROTOCOL_VERSION, PacketDecoder, encode_packet
from surgsam2.engine.protocol.messages import Message
from surgsam2.engine.protocol.requests import LivePicture, LoadModel, OpenUpload, OpenVideo
from surgsam2.engine.remote.greeting import (
    Accepted,
    Attach,
    Queued,
    Refused,
    read_packet,
    to_bytes,
)
from surgsam2.engine.remote.server import EngineServer, ServerLimits
from surgsam2.engine.server.standard_streams import SessionSettings
from surgsam2.errors import DeviceError, InputError, PromptError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import save_prompts
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.single_frame import StillFrame
from tests.engine.conftest import Driver
from tests.video.helpers import write_video

TOKEN, OTHER_TOKEN = "a" * 32, "b" * 32


@pytest.fixture(scope="session")
def models(
    tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path, small_config: Path
) -> Path:
    """Return a folder with the small model, which clients may name."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(demo_checkpoint, folder / "small.pt")
    shutil.copy(small_config, folder / "small.yaml")
    return folder


Serve = Callable[..., EngineServer]


@pytest.fixture(scope="session")
def serve(models: Path) -> Iterator[Serve]:
    """Return a function that starts a server on this machine."""
    servers: list[EngineServer] = []

    def start(
        limits: ServerLimits | None = None, cache: Path | None = None, **options: object
    ) -> EngineServer:
        listener = socket.create_server(("127.0.0.1", 0))
        server = EngineServer(
            listener,
            [TOKEN, OTHER_TOKEN],
            arguments=SessionSettings(str(models), cache and str(cache)).as_arguments(),
            limits=limits,
            **options,  # type: ignore[arg-type]
        )
        threading.Thread(target=server.run, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


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
            each.close()
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
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(2**14):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def connect(port: int, token: str = TOKEN) -> Driver:
    return Driver(EngineClient(address=f"surgsam2://127.0.0.1:{port}", token=token))


@pytest.fixture(scope="session")
def server(serve: Serve) -> EngineServer:
    return serve(ServerLimits(sessions=2))


@pytest.fixture
def remote(server: EngineServer) -> Iterator[Driver]:
    """A client of a server, with the small model loaded."""
    driver = connect(server.port)
    driver.client.start()
    loaded(driver)
    yield driver
    driver.client.close()
    gone(server)


def loaded(driver: Driver) -> ModelLoaded:
    number = driver.client.load_model("small.pt", config="small.yaml", device="cpu")
    return driver.until(ModelLoaded, number)


def gone(server: EngineServer) -> None:
    """Wait until the server has no session."""
    end = time.monotonic() + 30
    while server.running and time.monotonic() < end:
        time.sleep(0.02)
    assert not server.running


@pytest.fixture(scope="session")
def a_file(tmp_path_factory: pytest.TempPathFactory, a_clip: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("patient Müller") / "operation Müller.mp4"
    write_video(
        path,
        len(a_clip),
        size=(160, 120),
        frame=lambda i: av.VideoFrame.from_ndarray(a_clip[i], format="rgb24").reformat(
            format="yuv420p"
        ),
    )
    return path


BOX = PromptSet().add(object_id=1, frame=0, box=[10, 30, 50, 80])


def assert_same(events: list[Tracked], expected: list) -> None:
    assert [e.result.frame_index for e in events] == [r.frame_index for r in expected]
    for got, want in zip((e.result for e in events), expected, strict=True):
        assert np.array_equal(got.masks, want.masks)
        assert np.array_equal(got.iou_scores, want.iou_scores)


def test_a_video_is_sent_once_and_tracked_as_here(
    remote: Driver, a_model: SurgSAM2Model, a_file: Path
) -> None:
    opened = remote.until(VideoOpened, remote.client.open_video(a_file))
    assert (opened.frame_count, opened.source) == (18, str(a_file))
    number = remote.client.track(BOX, TrackingOptions(direction="both", allow_overlap=True))
    assert remote.until(Finished, number).status == "complete"
    assert_same(remote.of(number, Tracked), list(segment_video(a_model, a_file, BOX)))
    shown = remote.until(Previewed, remote.client.preview(0, BOX))
    assert list(shown.masks) == [1]
    remote.until(VideoOpened, remote.client.open_video(a_file))  # it is there already


def test_frames_of_the_application(
    remote: Driver, a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    remote.until(VideoOpened, remote.client.open_frames(18, 160, 120, 25.0, lambda k: a_clip[k]))
    number = remote.client.track(BOX, TrackingOptions(allow_overlap=True))
    remote.until(Finished, number)
    assert_same(remote.of(number, Tracked), list(segment_video(a_model, a_clip, BOX)))


def test_live_frames_are_compressed(
    remote: Driver, a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    """The masks are nearly those of the frames themselves."""
    number = remote.client.start_live(160, 120)
    prompts = PromptSet().add(object_id=5, frame=0, box=[10, 40, 45, 80])
    remote.client.live_prompts(prompts)
    remote.client.live_frame(a_clip[0], 1.0)
    event = remote.until(LiveTracked, number)
    expected = StillFrame(a_model, a_clip[0]).preview(prompts).masks
    assert np.mean(event.result.masks == expected) > 0.98
    failure = sent_raw(remote, LivePicture(number, 2.0, b"GIF89a" + b"x" * 100))
    assert "a live frame cannot be read" in failure.message
    wrong = jpeg_of(a_clip[0][:50])
    assert wrong is not None
    assert "must be (120, 160, 3)" in sent_raw(remote, LivePicture(number, 2.0, wrong)).message


def test_a_connection_that_is_cut_loses_and_doubles_nothing(
    server: EngineServer, a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    long = np.concatenate([a_clip] * 6)
    relay = Relay(server.port)
    driver = connect(relay.port)
    driver.client.start()
    loaded(driver)
    driver.until(VideoOpened, driver.client.open_frames(108, 160, 120, 25.0, lambda k: long[k]))
    number = driver.client.track(BOX, TrackingOptions(allow_overlap=True))
    chance, cuts = random.Random(7), 0
    while not driver.of(number, Finished):
        driver.when(lambda e: isinstance(e, Tracked | Finished))
        if cuts < 20 and chance.random() < 0.4:
            relay.cut()
            cuts += 1
    assert cuts == 20
    assert relay.connections > 5
    assert_same(driver.of(number, Tracked), list(segment_video(a_model, long, BOX)))
    states = [e.state for e in driver.seen if isinstance(e, ConnectionChanged)]
    assert states[:2] == ["connecting", "connected"]
    assert {"lost", "connected"} == set(states[2:])
    driver.client.close()
    relay.close()
    gone(server)


def test_a_session_ends_when_its_client_does_not_come_back(serve: Serve) -> None:
    server = serve(ServerLimits(keep_seconds=0.5))
    relay = Relay(server.port)
    driver = connect(relay.port)
    driver.client.start()
    driver.until(Ready)
    assert server.running == 1
    relay.close()
    gone(server)
    driver.client.close()


def test_the_server_ends_while_a_client_tracks(serve: Serve) -> None:
    server = serve()
    driver = connect(server.port)
    driver.client.start()
    driver.until(Ready)
    server.close()
    lost = driver.when(lambda e: isinstance(e, ConnectionChanged) and e.state == "lost")
    assert "is being restored" in lost.message  # type: ignore[attr-defined]
    driver.client.close()


def test_clients_wait_for_their_turn(serve: Serve) -> None:
    server = serve(ServerLimits(sessions=1, queue=1))
    first, second, third = (connect(server.port) for _ in range(3))
    first.client.start()
    first.until(Ready)
    second.client.start()
    queued = second.when(lambda e: isinstance(e, ConnectionChanged) and e.state == "queued")
    assert "place 1 in its queue" in queued.message  # type: ignore[attr-defined]
    third.client.start()
    assert "queue is full" in third.until(Failed).message
    assert not third.client.alive
    first.client.close()
    second.until(Ready)
    second.client.close()
    gone(server)


def test_an_engine_process_that_dies(serve: Serve) -> None:
    server = serve(python=sys.executable)
    driver = connect(server.port)
    driver.client.start()
    ready = driver.until(Ready)
    subprocess.run(["kill", "-9", str(ready.pid)], check=True)
    assert driver.until(Died).exit_code == -9
    gone_soon = connect(server.port)
    gone_soon.client.start()
    gone_soon.until(Ready)  # the place is free again
    gone_soon.client.close()


# refusals


@pytest.mark.parametrize("token", ["", "c" * 32, "ü"])
def test_a_wrong_token(server: EngineServer, token: str) -> None:
    driver = connect(server.port, token)
    driver.client.start()
    failure = driver.until(Failed)
    assert "the token is wrong" in failure.message
    assert not driver.client.alive
    assert server.running == 0


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


def sent_raw(remote: Driver, message: Message) -> Failed:
    transport = remote.client.transport
    assert transport is not None
    transport.send(message)
    return remote.until(Failed)


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
    assert "surgsam2-videos" not in failure.message
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
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = serve(tls=context)
    address = f"surgsam2://127.0.0.1:{server.port}"
    plain = connect(server.port)
    plain.client.start()
    assert "does not answer as an engine should" in plain.until(Failed).message
    other = tmp_path / "other.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-keyout", str(tmp_path / "k.pem"), "-out", str(other)],
        check=True, capture_output=True,
    )  # fmt: skip
    stranger = Driver(EngineClient(address=address, token=TOKEN, authorities=other))
    stranger.client.start()
    assert "is not accepted" in stranger.until(Failed).message
    driver = Driver(EngineClient(address=address, token=TOKEN, authorities=certificate))
    driver.client.start()
    driver.until(Ready)
    loaded(driver)
    driver.client.close()
    gone(server)


# Python and the command line


def test_a_remote_model_segments_as_one_here(
    server: EngineServer, a_model: SurgSAM2Model, a_file: Path, a_clip: np.ndarray
) -> None:
    address = f"surgsam2://127.0.0.1:{server.port}"
    options = {"config": "small.yaml", "device": "cpu"}
    with surgsam2.connect(address, "small.pt", token=TOKEN, **options) as model:
        assert (model.image_size, model.device, model.trained) == (128, "cpu", True)
        for video in (a_file, a_clip):
            for direction in ("forward", "both", "backward"):
                prompts = PromptSet().add(object_id=1, frame=4, box=[10, 30, 50, 80])
                here = list(segment_video(a_model, video, prompts, direction=direction))  # type: ignore[arg-type]
                there = list(segment_video(model, video, prompts, direction=direction))  # type: ignore[arg-type]
                assert [r.frame_index for r in there] == [r.frame_index for r in here]
                for got, want in zip(there, here, strict=True):
                    assert np.array_equal(got.masks, want.masks)
        results = segment_video(model, a_file, BOX)
        next(results)
        results.close()  # type: ignore[attr-defined]
        assert len(list(segment_video(model, a_file, BOX, stop=3))) == 3
        with pytest.raises(PromptError, match="outside"):
            segment_video(
                model, a_file, PromptSet().add(object_id=1, frame=0, points=[[999, 5, 1]])
            )
    gone(server)
    with pytest.raises(DeviceError, match="the token is wrong"):
        surgsam2.connect(address, token="x" * 20)
    with pytest.raises(InputError, match="has no model"):
        surgsam2.connect(address, "/etc/passwd", token=TOKEN)


def test_segment_with_an_engine(
    server: EngineServer,
    a_file: Path,
    demo_checkpoint: Path,
    small_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The files are those of a run here."""
    token = tmp_path / "token"
    token.write_text(f"# mine\n{TOKEN}\n")
    monkeypatch.setenv("SURGSAM2_TOKEN_FILE", str(token))
    save_prompts(BOX, tmp_path / "prompts.json")
    common = ["segment", str(a_file), "--prompts", str(tmp_path / "prompts.json")]
    here = ["--model", str(demo_checkpoint), "--config", str(small_config), "--device", "cpu"]
    assert main([*common, *here, "--output", str(tmp_path / "here")]) == 0
    address = f"surgsam2://127.0.0.1:{server.port}"
    there = ["--model", "small.pt", "--config", "small.yaml", "--device", "cpu"]
    there += ["--engine", address]
    assert main([*common, *there, "--output", str(tmp_path / "there")]) == 0
    for path in sorted((tmp_path / "here").rglob("*.png")):
        other = tmp_path / "there" / path.relative_to(tmp_path / "here")
        assert other.read_bytes() == path.read_bytes()
    report = json.loads((tmp_path / "there" / "report.json").read_text())
    assert report["model"]["engine"] == address
    capsys.readouterr()
    again = [*common, *there, "--output", str(tmp_path / "there"), "--resume"]
    assert main(again) == 2
    assert "cannot be resumed" in capsys.readouterr().err
    monkeypatch.setenv("SURGSAM2_TOKEN", "y" * 20)
    assert main([*common, *there, "--output", str(tmp_path / "x")]) == 2
    assert "the token is wrong" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_ssh_starts_an_engine(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script stands in for ssh: it runs the command here."""
    script = tmp_path / "ssh"
    script.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "command = sys.argv[sys.argv.index('--') + 1 :]\n"
        "host, command = command[0], command[1]\n"
        "print('welcome to', host, file=sys.stderr)\n"
        "if host == 'nobody@gpu': sys.exit('Permission denied (publickey).')\n"
        f"settings = {json.dumps(json.dumps({'models': str(models)}))}\n"
        "os.execvp('sh', ['sh', '-c', f\"{command} --settings '{settings}'\"])\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    driver = Driver(EngineClient(sys.executable, address="ssh://user@gpu:22"))
    driver.client.start()
    driver.until(Ready)
    loaded(driver)
    driver.client.close()
    refused = Driver(EngineClient(sys.executable, address="ssh://nobody@gpu"))
    refused.client.start()
    failure = refused.until(Failed)
    assert "ssh://nobody@gpu: no engine could be started there" in failure.message
    assert "Permission denied" in failure.message


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
