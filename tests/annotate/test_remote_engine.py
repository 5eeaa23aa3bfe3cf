"""The page with an engine on another machine: a real server on this one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgsam2 import PromptSet, segment_video
from surgsam2.annotate.consent import Consent
from surgsam2.annotate.engine_link import EngineLink
from surgsam2.annotate.project import Project
from surgsam2.annotate.serve import annotate
from surgsam2.annotate.session import Session
from surgsam2.engine import EngineClient
from surgsam2.errors import InputError
from surgsam2.model.options import ModelOptions
from surgsam2.video import open_video
from tests.annotate.conftest import Page
from tests.engine.remote.conftest import models, serve  # noqa: F401 - fixtures
from tests.engine.remote.helpers import TOKEN, Serve

THERE = ModelOptions(model="small.pt", config="small.yaml", device="cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder of the user."""
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def frames(a_clip: np.ndarray, tmp_path: Path) -> Path:
    """Return a folder of images, which cannot be sent as one file."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, frame in enumerate(a_clip[:6]):
        Image.fromarray(frame).save(folder / f"{index:03}.png")
    return folder


@pytest.fixture
def page(
    request: pytest.FixtureRequest,
    serve: Serve,  # noqa: F811
    tmp_path: Path,
) -> Iterator[Page]:
    """Return a page whose engine is a server's; the parameter is the fixture of the video."""
    source = request.getfixturevalue(request.param)
    server = serve()
    address = f"surgsam2://127.0.0.1:{server.port}"
    with (
        open_video(source) as video,
        Project(tmp_path / "out", video.width, video.height, video.frame_count) as project,
    ):
        engine = EngineLink(EngineClient(address=address, token=TOKEN), THERE, Consent(address))
        session = Session(video, source, project, engine)
        session.start()
        opened = Page(session, engine)
        assert session.hello()["consent"] == "", "nothing leaves this computer"
        opened.until(lambda: any(e.get("status") == "ready" for e in opened.events))
        opened.close_server = server.close  # type: ignore[attr-defined]
        yield opened
        session.close()
        engine.close()
        server.close()


@pytest.mark.parametrize("page", ["video_file", "frames"], indirect=True)
def test_masks_equal_those_of_the_library(page: Page, model_options: ModelOptions) -> None:
    page.do("add_object")
    page.do("add_point", object=1, frame=0, x=30, y=60, positive=True)
    project = page.session.project
    page.until(lambda: project.mask(1, 0).any())
    page.do("track", start=0, stop=5)
    page.until(lambda: {"type": "tracking", "running": False, "status": "complete"} in page.events)
    prompts = PromptSet().add(object_id=1, frame=0, points=[[30, 60, 1]])
    for result in segment_video(model_options.load(), page.session.video, prompts, stop=5):
        assert np.array_equal(project.mask(1, result.frame_index), result.masks[0])
    assert not page.errors()


@pytest.mark.parametrize("page", ["video_file"], indirect=True)
def test_a_server_that_is_gone_for_good(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A track ends, what it did is kept, and the page can be used again."""
    monkeypatch.setattr("surgsam2.engine.remote.channel.RESTORE_SECONDS", 0.5)
    page.do("add_object")
    page.do("add_point", object=1, frame=0, x=30, y=60, positive=True)
    page.until(lambda: page.session.project.mask(1, 0).any())
    page.do("track")
    page.close_server()  # type: ignore[attr-defined]
    page.until(lambda: {"type": "tracking", "running": False, "status": "failed"} in page.events)
    notices = [event["notice"] for event in page.events if event["type"] == "engine"]
    assert any("is being restored" in notice for notice in notices)
    assert notices[-1] == ""
    assert any("does not answer" in message for message in page.errors())
    page.do("paint", object=1, frame=5, runs=[0, 40], erase=False)
    assert page.session.project.mask(1, 5).any()


def test_nothing_is_sent_before_the_person_agrees(
    video_file: Path, tmp_path: Path, cache: Path
) -> None:
    address = "surgsam2://192.0.2.7:1"
    with (
        open_video(video_file) as video,
        Project(tmp_path / "out", video.width, video.height, video.frame_count) as project,
    ):
        client = EngineClient(address=address, token=TOKEN)
        session = Session(video, video_file, project, EngineLink(client, THERE, Consent(address)))
        session.start()
        page = Page(session, None)  # type: ignore[arg-type]
        assert page.events[0]["consent"] == address
        assert page.events[0]["status"] == "waiting for your consent"
        page.do("add_object")
        page.do("add_point", object=1, frame=0, x=30, y=60, positive=True)
        assert "once you agree that the video is sent there" in page.errors()[-1]
        assert not client.alive
        page.do("agree_engine")
        assert client.alive
        client.close()
    assert (cache / "engines-agreed.txt").read_text() == f"{address}\n"
    assert not Consent(address).needed
    assert Consent("surgsam2://192.0.2.8:1").needed


def test_an_address_that_is_none(video_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no address of an engine"):
        annotate(video_file, tmp_path / "out", engine="gpu7")
