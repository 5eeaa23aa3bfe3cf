"""A session with a server: tracking, live frames, lost connections, the queue."""

from __future__ import annotations

import random
import select
import subprocess
import sys
from pathlib import Path

import numpy as np

from surgsam2 import PromptSet, segment_video
from surgsam2.engine import (
    ConnectionChanged,
    Died,
    Failed,
    Finished,
    LiveTracked,
    Previewed,
    Ready,
    Tracked,
    VideoOpened,
)
from surgsam2.engine.client.frame_sources import jpeg_of
from surgsam2.engine.protocol.requests import LivePicture
from surgsam2.engine.remote.address import Address
from surgsam2.engine.remote.channel import ServerChannel
from surgsam2.engine.remote.dialing import TcpDialer
from surgsam2.engine.remote.server import EngineServer, ServerLimits
from surgsam2.model.build import SurgSAM2Model
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.single_frame import StillFrame
from tests.engine.conftest import Driver
from tests.engine.remote.helpers import (
    BOX,
    TOKEN,
    Relay,
    Serve,
    assert_same,
    connect,
    gone,
    loaded,
    sent_raw,
)


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
    chance, cuts = random.Random(7), 0

    def frame(index: int) -> np.ndarray:
        """Return a frame, which may be wanted on one connection and given on the next one."""
        nonlocal cuts
        if index % 5 == 4:  # so few are wanted at once that each cut meets another connection
            relay.cut()
            cuts += 1
        return long[index]

    driver.client.start()
    loaded(driver)
    driver.until(VideoOpened, driver.client.open_frames(108, 160, 120, 25.0, frame))
    number = driver.client.track(BOX, TrackingOptions(allow_overlap=True))
    while not driver.of(number, Finished):
        driver.when(lambda e: isinstance(e, Tracked | Finished))
        if chance.random() < 0.2:
            relay.cut()
    assert cuts == 21
    assert relay.connections > 21
    assert_same(driver.of(number, Tracked), list(segment_video(a_model, long, BOX)))
    driver.until(Previewed, driver.client.preview(0, BOX))  # the last cut is over
    states = [e.state for e in driver.seen if isinstance(e, ConnectionChanged)]
    assert states[:2] == ["connecting", "connected"]
    assert {"lost", "connected"} == set(states[2:])
    driver.client.close()
    gone(server)
    relay.close()


def test_a_client_leaves_before_it_uses_its_connection(serve: Serve) -> None:
    server = serve()
    address = Address("surgsam2", "127.0.0.1", server.port)
    channel = ServerChannel(str(address), TcpDialer(address), TOKEN)
    (made, _), *_ = channel.sockets
    assert select.select([made], [], [], 30.0)[0], "nothing was connected"
    channel.close()
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
