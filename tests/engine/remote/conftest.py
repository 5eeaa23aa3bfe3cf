"""Servers of this machine, with a small model."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from surgsam2.engine.remote.server import EngineServer, ServerLimits
from surgsam2.engine.server.standard_streams import SessionSettings
from tests.engine.conftest import Driver
from tests.engine.remote.helpers import (
    OTHER_TOKEN,
    TOKEN,
    Serve,
    connect,
    gone,
    loaded,
)
from tests.video.helpers import write_video


@pytest.fixture(scope="session")
def models(
    tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path, small_config: Path
) -> Path:
    """Return a folder with the small model, which clients may name."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(demo_checkpoint, folder / "small.pt")
    shutil.copy(small_config, folder / "small.yaml")
    return folder


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
