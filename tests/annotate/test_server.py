"""The server: what it gives, and whom it refuses."""

from __future__ import annotations

import io
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from surgsam2.annotate.chooser import VideoChooser, find_videos
from surgsam2.annotate.engine_link import EngineLink
from surgsam2.annotate.project import Project
from surgsam2.annotate.serve import annotate
from surgsam2.annotate.server import ALREADY_OPEN, cookie_name, make_app
from surgsam2.engine import EngineClient
from surgsam2.errors import InputError, OutputError
from surgsam2.model.options import ModelOptions
from tests.video.helpers import write_video

HOST = "127.0.0.1:8123"
COOKIE = cookie_name(frozenset({HOST}))
TOKEN = "a-secret"
SOCKET = f"ws://{HOST}/session"


@pytest.fixture
def chooser(video_file: Path, engine: EngineLink, tmp_path: Path) -> Iterator[VideoChooser]:
    """Return the choice of one video, which is open."""
    videos = {"clip.mp4": video_file}
    with VideoChooser(videos, lambda path: tmp_path / "out", engine) as opened:
        yield opened


@pytest.fixture
def client(chooser: VideoChooser) -> Iterator[TestClient]:
    """Return a client of the application that has opened the address with its token."""
    app = make_app(chooser, TOKEN, frozenset({HOST}))
    with TestClient(app, base_url=f"http://{HOST}", follow_redirects=False) as opened:
        assert opened.get(f"/?token={TOKEN}").status_code == 303
        yield opened


def test_the_token_moves_into_a_cookie(client: TestClient) -> None:
    response = client.get(f"/?token={TOKEN}")
    assert response.headers["location"] == "/"
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_pages_of_two_ports_keep_their_cookies(client: TestClient) -> None:
    """A browser gives the cookies of one port to all ports of a host."""
    entry = client.get(f"/?token={TOKEN}")
    assert entry.headers["set-cookie"].startswith(f"{COOKIE}=")
    other = cookie_name(frozenset({HOST.replace("8123", "8124")}))
    both = {"cookie": f"{COOKIE}={TOKEN}; {other}=another"}
    assert client.get("/", headers=both).status_code == 200


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    response = client.get("/")
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    text = response.text + "".join(
        client.get(f"/static/{name}").text
        for name in ("app.js", "view.js", "timeline.js", "connection.js", "style.css")
    )
    assert "https://" not in text.replace('https:"', "")
    assert "//cdn" not in text


def test_frames_are_the_video_s(
    client: TestClient, chooser: VideoChooser, a_clip: np.ndarray
) -> None:
    response = client.get(f"/frames/{chooser.key}/3.jpg")
    with Image.open(io.BytesIO(response.content), formats=["JPEG"]) as image:
        difference = np.abs(np.asarray(image).astype(int) - a_clip[3])
    assert difference.mean() < 8
    assert client.get(f"/frames/{chooser.key}/3.jpg").content == response.content
    missing = client.get(f"/frames/{chooser.key}/99.jpg")
    assert (missing.status_code, "no frame 99" in missing.json()["error"]) == (409, True)


def test_labels_of_a_frame(client: TestClient) -> None:
    assert np.frombuffer(client.get("/labels/0").content, "<u4").tolist() == [0, 160 * 120]
    assert client.get("/labels/99").status_code == 409


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1:9999"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"cookie": f"{COOKIE}=another"},
        {"cookie": ""},
    ],
)
@pytest.mark.parametrize("path", ["/", "/frames/1/0.jpg", "/labels/0", "/static/app.js"])
def test_others_are_refused(client: TestClient, path: str, headers: dict[str, str]) -> None:
    response = client.get(path, headers=headers)
    assert response.status_code == 403
    assert len(response.text) < 300


def test_a_wrong_token_is_refused(client: TestClient) -> None:
    client.cookies.clear()
    assert "not valid any more" in client.get("/?token=guess").text


def test_another_origin_cannot_connect(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect(SOCKET, headers={"origin": "http://evil.example"}),
    ):
        pass
    assert refused.value.code == 4403


def test_a_second_page_is_told(client: TestClient) -> None:
    with client.websocket_connect(SOCKET) as first:
        assert first.receive_json()["type"] == "hello"
        with client.websocket_connect(SOCKET) as second:
            with pytest.raises(WebSocketDisconnect) as refused:
                second.receive_json()
            assert refused.value.code == ALREADY_OPEN
    with client.websocket_connect(SOCKET) as again:
        assert again.receive_json()["type"] == "hello"


def test_text_that_is_no_command(client: TestClient) -> None:
    with client.websocket_connect(SOCKET) as page:
        page.receive_json()
        page.send_text("[1, 2]")
        while (event := page.receive_json())["type"] != "error":
            pass
        assert "unknown command" in event["message"]
        page.send_text("{")  # The connection ends; the server goes on.
    assert client.get("/").status_code == 200


def test_paths_that_climb_are_not_found(client: TestClient) -> None:
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py"):
        assert client.get(path).status_code in (404, 403)


def test_nothing_to_export(client: TestClient) -> None:
    response = client.post("/export", content='{"formats": ["coco"]}')
    assert (response.status_code, "no masks" in response.json()["error"]) == (409, True)
    for content in ("[", "[]", '{"formats": [["coco"]]}', "{}"):
        assert client.post("/export", content=content).status_code == 409


def test_other_machines_need_tls(video_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--certificate"):
        annotate(video_file, tmp_path / "out", host="0.0.0.0")
    assert not (tmp_path / "out").exists()


def test_a_port_in_use(video_file: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}"):
            annotate(video_file, tmp_path / "out", port=port)


def test_another_video_of_the_folder(video_file: Path, engine: EngineLink, tmp_path: Path) -> None:
    place = tmp_path / "videos"
    place.mkdir()
    shutil.copy(video_file, place / "a.mp4")
    write_video(place / "b.MP4", 5, size=(64, 48))
    (place / "c.mp4").write_bytes(b"not a video")
    (place / "notes.txt").write_text("")
    (place / "._a.mp4").write_bytes(b"of another system")
    found = find_videos(place)
    assert list(found) == ["a.mp4", "b.MP4", "c.mp4"]
    work = tmp_path / "work"
    with (
        VideoChooser(found, lambda path: work / path.stem, engine) as chooser,
        TestClient(
            make_app(chooser, TOKEN, frozenset({HOST})),
            base_url=f"http://{HOST}",
            follow_redirects=False,
        ) as client,
    ):
        client.get(f"/?token={TOKEN}")
        with client.websocket_connect(SOCKET) as page:
            hello = page.receive_json()
            assert (hello["videos"], hello["chosen"]) == (["a.mp4", "b.MP4", "c.mp4"], "a.mp4")
            first = hello["key"]
            page.send_json({"command": "add_object", "name": "kept"})
            page.send_json({"command": "open", "video": "b.MP4"})
            hello = received(page, "hello")
            assert (hello["chosen"], hello["video"]["frames"]) == ("b.MP4", 5)
            assert not hello["objects"]
            assert client.get(f"/frames/{hello['key']}/4.jpg").status_code == 200
            assert client.get(f"/frames/{first}/4.jpg").status_code == 404
            page.send_json({"command": "open", "video": "c.mp4"})
            again = received(page, "hello")
            assert (again["chosen"], again["key"]) == ("b.MP4", hello["key"])
            assert "c.mp4" in received(page, "error")["message"]
            page.send_json({"command": "open", "video": "a.mp4"})
            assert received(page, "hello")["objects"][0]["name"] == "kept"


def test_a_project_that_cannot_be_saved_stays_open(
    video_file: Path, engine: EngineLink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = {"a.mp4": video_file, "b.mp4": video_file}
    names = iter(("a", "b"))

    def full(project: Project) -> None:
        raise OutputError("cannot write annotation.json: no space left on device")

    with VideoChooser(videos, lambda path: tmp_path / next(names), engine) as chooser:
        first = chooser.key
        chooser.session.project.add_object("kept")
        with monkeypatch.context() as patched:
            patched.setattr(Project, "save", full)
            with pytest.raises(OutputError, match="no space left"):
                chooser.open("b.mp4")
        assert chooser.key == first
        assert chooser.session.project.object(1).name == "kept"
        chooser.open("b.mp4")
        assert not chooser.session.project.objects
    assert "kept" in (tmp_path / "a" / "annotation.json").read_text()


def test_each_video_of_a_folder_has_a_project_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "videos"
    place.mkdir()
    for name in ("a.mp4", "a.avi", "b.mp4"):
        (place / name).write_bytes(b"")
    found: dict[str, Path] = {}

    def chooser(videos: dict[str, Path], folder: Any, *rest: Any) -> None:
        found.update({name: folder(path) for name, path in videos.items()})
        raise InputError("enough")

    monkeypatch.setattr("surgsam2.annotate.serve.VideoChooser", chooser)
    with pytest.raises(InputError, match="enough"):
        annotate(place)
    own = Path("videos-annotated")
    assert found == {
        "a.avi": own / "a.avi-annotated",
        "a.mp4": own / "a.mp4-annotated",
        "b.mp4": own / "b-annotated",
    }


def received(page: Any, kind: str) -> dict[str, Any]:
    """Return the next event of a kind."""
    while True:
        event: dict[str, Any] = page.receive_json()
        if event["type"] == kind:
            return event


def test_frames_that_vanish(model_options: ModelOptions, tmp_path: Path) -> None:
    """The message names the frame's file; what was marked stays."""
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(4):
        Image.new("RGB", (32, 24), (index, 0, 0)).save(frames / f"{index}.png")
    with (
        VideoChooser(
            {"frames": frames},
            lambda path: tmp_path / "out",
            EngineLink(EngineClient(), model_options),
        ) as chooser,
        TestClient(
            make_app(chooser, TOKEN, frozenset({HOST})), base_url=f"http://{HOST}"
        ) as client,
    ):
        client.get(f"/?token={TOKEN}")
        chooser.session.project.add_object("kept")
        assert client.get(f"/frames/{chooser.key}/0.jpg").status_code == 200
        shutil.rmtree(frames)
        response = client.get(f"/frames/{chooser.key}/3.jpg")
        assert response.status_code == 409
        assert "3.png" in response.json()["error"]
    assert "kept" in (tmp_path / "out" / "annotation.json").read_text()


def test_each_run_has_its_own_addresses_of_frames(
    video_file: Path, engine: EngineLink, tmp_path: Path
) -> None:
    """Else a browser would show frames that it kept of another video at the same port."""
    keys = set()
    for name in ("one", "two"):
        with VideoChooser({"a": video_file}, lambda _, n=name: tmp_path / n, engine) as chooser:  # type: ignore[misc]
            keys.add(chooser.key)
    assert len(keys) == 2
