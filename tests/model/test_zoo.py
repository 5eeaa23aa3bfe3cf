"""Known checkpoints: their addresses, and downloads that are complete or leave no file."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from surgsam2.errors import DownloadError, InputError
from surgsam2.model import transfer, zoo
from surgsam2.model.builder import build_network
from surgsam2.model.configs import config_names, load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.storage.folder_lock import exclusive

NAME = "sam2.1-hiera-tiny"
FILENAME = "sam2.1_hiera_tiny.pt"


def a_checkpoint() -> bytes:
    file = io.BytesIO()
    torch.save({"model": {"w": torch.zeros(1000)}}, file)
    return file.getvalue()


CHECKPOINT = a_checkpoint()


class _Handler(BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/none":
            self.send_error(404)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        if self.path == "/garbled":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            return
        if self.path == "/unsafe":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/x.pt")
            self.end_headers()
            return
        body = b"<html>please log in</html>" if self.path == "/login" else CHECKPOINT
        asked = self.headers.get("Range")
        if asked and self.path in ("/good", "/swapped"):
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(body):
                self.send_error(416)
                return
            body = body[begin:] if self.path == "/good" else b"x" * (len(body) - begin)
            self.send_response(206)
        else:
            self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"400\r\n" + body[:1024] + b"\r\n")  # without a last chunk
            return
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/short" else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def requests() -> list[str]:
    return []


@pytest.fixture
def server(requests: list[str]) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"requests": requests})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a" / "cache"
    monkeypatch.setenv("SURGSAM2_CACHE", str(folder))
    monkeypatch.setattr(transfer, "_SCHEMES", ("https", "http"))  # the test's server has no https
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return folder


@pytest.fixture
def served_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put another address into the list of known checkpoints."""
    known = zoo.known_checkpoints()
    sha256 = hashlib.sha256(CHECKPOINT).hexdigest()

    def put(url: str) -> None:
        changed = known | {NAME: replace(known[NAME], url=url, sha256=sha256)}
        monkeypatch.setattr(zoo, "known_checkpoints", lambda: changed)

    return put


def refusal(cache: Path, url: str) -> str:
    with pytest.raises(DownloadError) as caught:
        zoo.download(NAME)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"could not download {url} (")
    assert message.endswith(f"fetch the file by hand and put it at {cache / FILENAME}")
    assert isinstance(caught.value, OSError)
    assert not (cache / FILENAME).exists()
    return message


def files_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != "download.lock")


def test_the_list() -> None:
    known = zoo.known_checkpoints()
    assert len(known) == 9
    assert all(name == entry.name for name, entry in known.items())
    assert {entry.config for entry in known.values()} <= set(config_names())
    assert len({entry.filename for entry in known.values()}) == len(known)
    urls = [entry.url for entry in known.values() if entry.url is not None]
    assert len(urls) == len(set(urls)) == 8
    sums = {entry.sha256 for entry in known.values() if entry.url is not None}
    assert len(sums) == 8
    assert all(len(bytes.fromhex(text or "")) == 32 for text in sums)
    for url in urls:
        assert url.startswith("https://dl.fbaipublicfiles.com/segment_anything_2/")
    assert known["sam2-hiera-base-plus"].url == f"{zoo._PUBLIC}/072824/sam2_hiera_base_plus.pt"
    assert known["sam2.1-hiera-large"].url == f"{zoo._PUBLIC}/092824/sam2.1_hiera_large.pt"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sam2-hiera-tiny", "sam2-hiera-tiny"),
        ("sam2-hiera-tiny-512", "sam2-hiera-tiny"),
        ("sam2-hiera-tiny-1024", "sam2-hiera-tiny"),
        ("surgsam2-hiera-small-512", "surgsam2-hiera-small-512"),
        ("surgsam2-hiera-small-1024", None),
        ("sam2-hiera-tiny-512-1024", None),
        ("sam2-hiera-tiny-1024-512", None),
        ("demo", None),
        ("", None),
    ],
)
def test_names(name: str, found: str | None) -> None:
    entry = zoo.find_known(name)
    assert (entry and entry.name) == found


@pytest.mark.parametrize(
    "name",
    [*(f"sam2.1-hiera-{size}" for size in ("tiny", "small", "base-plus", "large")),
     "sam2-hiera-tiny", "surgsam2-hiera-small-512"],
)  # fmt: skip
def test_numbers_of_parameters_are_those_of_the_networks(name: str) -> None:
    entry = zoo.known_checkpoints()[name]
    network = build_network(load_config(entry.config), name, SurgSAM2Network)
    assert entry.parameters == sum(p.numel() for p in network.parameters())


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path / "x"))
    assert zoo.cache_folder() == tmp_path / "x"
    assert zoo.known_checkpoints()[NAME].path == tmp_path / "x" / FILENAME
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SURGSAM2_CACHE", "~/weights")
    assert zoo.cache_folder() == tmp_path / "weights"
    monkeypatch.setenv("SURGSAM2_CACHE", "")
    assert zoo.cache_folder() == tmp_path / ".cache" / "surgsam2"


@pytest.mark.parametrize("page", ["good", "unsized", "moved"])
def test_a_complete_file(
    page: str, server: str, cache: Path, served_at: Callable[[str], None], requests: list[str]
) -> None:
    served_at(f"{server}/{page}")
    path = zoo.download(f"{NAME}-1024")
    assert path == cache / FILENAME
    assert path.read_bytes() == CHECKPOINT
    assert files_in(cache) == [FILENAME]
    count = len(requests)
    assert zoo.download(NAME) == path
    assert len(requests) == count, "fetched again although it was there"


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("none", "Not Found"),
        ("short", f"got {len(CHECKPOINT) // 2} of {len(CHECKPOINT)} bytes"),
        ("chunked", "IncompleteRead"),
        ("garbled", "this is not HTTP"),
        ("login", "the received file is not the published one: its SHA-256 differs"),
        ("unsafe", "ftp://127.0.0.1/x.pt is not an https address"),
    ],
)
def test_transfers_that_fail(
    page: str, reason: str, server: str, cache: Path, served_at: Callable[[str], None]
) -> None:
    served_at(f"{server}/{page}")
    assert reason in refusal(cache, f"{server}/{page}")


def test_nobody_answers(cache: Path, served_at: Callable[[str], None]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served_at(f"http://127.0.0.1:{port}/x.pt")
    assert "Connection refused" in refusal(cache, f"http://127.0.0.1:{port}/x.pt")


def test_silence_ends(
    cache: Path, served_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.pt"
        served_at(url)
        assert "timed out" in refusal(cache, url)


@pytest.mark.parametrize("kept", [1, 1000, len(CHECKPOINT) - 1])
def test_an_interrupted_transfer_is_continued(
    kept: int, server: str, cache: Path, served_at: Callable[[str], None]
) -> None:
    cache.mkdir(parents=True)
    (cache / f"{FILENAME}.part").write_bytes(CHECKPOINT[:kept])
    served_at(f"{server}/good")
    assert zoo.download(NAME).read_bytes() == CHECKPOINT
    assert files_in(cache) == [FILENAME]


def test_a_failed_transfer_keeps_what_came(
    server: str, cache: Path, served_at: Callable[[str], None]
) -> None:
    served_at(f"{server}/short")
    refusal(cache, f"{server}/short")
    assert (cache / f"{FILENAME}.part").read_bytes() == CHECKPOINT[: len(CHECKPOINT) // 2]
    served_at(f"{server}/good")
    assert zoo.download(NAME).read_bytes() == CHECKPOINT


@pytest.mark.parametrize("page", ["unsized", "good"])
def test_servers_that_do_not_continue(
    page: str, server: str, cache: Path, served_at: Callable[[str], None]
) -> None:
    """One server sends everything again, another says that nothing follows the end."""
    cache.mkdir(parents=True)
    (cache / f"{FILENAME}.part").write_bytes(b"x" * len(CHECKPOINT))
    served_at(f"{server}/{page}")
    assert zoo.download(NAME).read_bytes() == CHECKPOINT


def test_a_file_that_changed_in_between_does_not_verify(
    server: str, cache: Path, served_at: Callable[[str], None]
) -> None:
    cache.mkdir(parents=True)
    (cache / f"{FILENAME}.part").write_bytes(CHECKPOINT[:100])
    served_at(f"{server}/swapped")
    assert "its SHA-256 differs" in refusal(cache, f"{server}/swapped")
    assert files_in(cache) == [], "what is wrong would be continued for ever"


def test_only_https(
    cache: Path, served_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_SCHEMES", ("https",))
    for url in ("http://127.0.0.1/x.pt", "file:///etc/passwd"):
        served_at(url)
        assert "is not an https address" in refusal(cache, url)


def test_a_stream_without_end(
    server: str, cache: Path, served_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "MAX_BYTES", 1000)
    served_at(f"{server}/good")
    assert "the server sent more than 1000 bytes" in refusal(cache, f"{server}/good")


def test_two_downloads_at_once(server: str, cache: Path, served_at: Callable[[str], None]) -> None:
    served_at(f"{server}/good")
    cache.mkdir(parents=True)
    with (
        exclusive(cache / "download.lock"),
        pytest.raises(DownloadError, match=r"another download into .* is under way"),
    ):
        zoo.download(NAME)
    assert zoo.download(NAME).is_file()


def test_a_cache_that_cannot_be_written(
    server: str, cache: Path, served_at: Callable[[str], None]
) -> None:
    cache.parent.mkdir()
    cache.write_text("a file, not a folder")
    served_at(f"{server}/good")
    with pytest.raises(DownloadError, match="could not download") as caught:
        zoo.download(NAME)
    assert "File exists" in str(caught.value)


def test_the_authors_weights_are_fetched_by_hand(cache: Path) -> None:
    with pytest.raises(DownloadError, match="has no direct download: get it from") as caught:
        zoo.download("surgsam2-hiera-small-512")
    message = str(caught.value)
    assert "https://github.com/jinlab-imvr/Surgical-SAM-2" in message
    assert str(cache / "sam2.1_hiera_s_endo18.pth") in message
    assert not cache.exists()
    cache.mkdir(parents=True)
    (cache / "sam2.1_hiera_s_endo18.pth").write_bytes(CHECKPOINT)
    assert zoo.download("surgsam2-hiera-small-512").read_bytes() == CHECKPOINT


def test_unknown_names(cache: Path) -> None:
    with pytest.raises(InputError, match="unknown model 'sam9'; known: "):
        zoo.download("sam9")
    with pytest.raises(InputError, match="demo is built in; there is nothing to download"):
        zoo.download("demo")
