"""Rate and delays of an engine behind a slow connection, beside an engine of this machine.

A relay between the client and `surgsam2 serve` delays each direction by 10 ms and lets 100 Mbit/s
through. Local and remote runs alternate. The figures are in docs/notes/remote-engine.md.

    python docs/notes/experiments/remote_rate.py VIDEO [--frames 100] [--rounds 3] [--live-fps 5]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from surgsam2 import PromptSet, open_video
from surgsam2.engine import (
    EngineClient,
    Failed,
    Finished,
    LiveTracked,
    ModelLoaded,
    Previewed,
    Tracked,
    VideoOpened,
)
from surgsam2.tracking.options import TrackingOptions

DELAY_SECONDS = 0.01
BYTES_PER_SECOND = 100e6 / 8


async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass bytes on, each after the delay, and no faster than the rate."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            target.write(data)
            await target.drain()

    delivering = asyncio.create_task(deliver())
    free = 0.0
    while data := await source.read(2**14):
        free = max(free, time.monotonic()) + len(data) / BYTES_PER_SECOND
        waiting.put_nowait((free + DELAY_SECONDS, data))
        await asyncio.sleep(max(0.0, free - time.monotonic()))
    delivering.cancel()
    target.close()


async def relay(listener: socket.socket, port: int) -> None:
    """Connect each client of a socket to a port of this machine, slowly."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, there_writer), pass_on(there_reader, writer))

    async with await asyncio.start_server(connected, sock=listener) as serving:
        await serving.serve_forever()


@contextmanager
def slow_server(folder: Path) -> Iterator[dict[str, str]]:
    """Run `surgsam2 serve` behind the relay; yield what a client needs to know."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = folder / "token"
    server = subprocess.Popen(
        [
            sys.executable, "-m", "surgsam2", "serve", "--port", str(port),
            "--token-file", str(token),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert "serving" in server.stdout.readline()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        slow = multiprocessing.get_context("fork").Process(
            target=lambda: asyncio.run(relay(listener, port)), daemon=True
        )
        slow.start()
        address = f"surgsam2://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield {"address": address, "token": token.read_text().strip()}
        finally:
            slow.kill()
            server.terminate()
            server.wait(20)


class Side:
    """A client, here or there, with the built-in model loaded and the video open."""

    def __init__(self, video: Path, **where: Any) -> None:
        self.client = EngineClient(**where)
        self.client.start()
        self.wait(self.client.load_model("demo"), ModelLoaded)
        began = time.perf_counter()
        self.wait(self.client.open_video(video), VideoOpened)
        self.opening = time.perf_counter() - began

    def wait(self, request: int, kind: type) -> Any:
        """Wait for an event of a request."""
        while True:
            for event in self.client.poll(0.01):
                if isinstance(event, Failed):
                    raise RuntimeError(event.message)
                if isinstance(event, kind) and event.request == request:
                    return event

    def rate(self, prompts: PromptSet, frames: int) -> float:
        """Return the frames per second between the first and the last result."""
        options = TrackingOptions(stop=prompts.frames[0] + frames)
        request, times = self.client.track(prompts, options), []
        while True:
            for event in self.client.poll(0.01):
                if isinstance(event, Tracked):
                    times.append(time.perf_counter())
                elif isinstance(event, Finished) and event.request == request:
                    return (len(times) - 1) / (times[-1] - times[0])

    def preview(self, frame: int, box: list[float]) -> float:
        """Return the milliseconds until the mask of a box on a new frame is there."""
        began = time.perf_counter()
        prompts = PromptSet().add(object_id=1, frame=frame, box=box)
        self.wait(self.client.preview(frame, prompts), Previewed)
        return 1000 * (time.perf_counter() - began)

    def live(self, video: Any, box: list[float], fps: float, frames: int) -> list[float]:
        """Return the milliseconds from giving a live frame to its result."""
        self.client.start_live(video.width, video.height)
        self.client.live_prompts(PromptSet().add(object_id=1, frame=0, box=box))
        delays, due = [], time.perf_counter()
        pictures = [video[index] for index in range(8)]
        for index in range(frames):
            self.client.live_frame(pictures[index % 8], time.perf_counter())
            due += 1 / fps
            while (rest := due - time.perf_counter()) > 0:
                for event in self.client.poll(min(rest, 0.01)):
                    if isinstance(event, LiveTracked):
                        delays.append(1000 * (time.perf_counter() - event.stamp))
        self.client.cancel()
        return delays[3:]  # the first ones warm up


def main() -> None:
    """Measure, and print a line for each turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--live-fps", type=float, default=5.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, slow_server(Path(folder)) as there:
        sides = {"local": Side(args.video), "remote": Side(args.video, **there)}
        with open_video(args.video) as video:
            box = [video.width * 0.4, video.height * 0.4, video.width * 0.6, video.height * 0.6]
            prompts = PromptSet().add(object_id=1, frame=0, box=box)
            for name, side in sides.items():
                print(f"{name}: opened in {side.opening:.1f} s")  # noqa: T201
            for number in range(args.rounds):
                for name in ("local", "remote") if number % 2 == 0 else ("remote", "local"):
                    side = sides[name]
                    rate = side.rate(prompts, args.frames)
                    previews = [side.preview(3 + 7 * k, box) for k in range(6)][1:]
                    live = sorted(side.live(video, box, args.live_fps, 40)) or [float("nan")]
                    late = live[int(0.95 * (len(live) - 1))]
                    print(  # noqa: T201
                        f"{name}: {rate:.2f} frames/s; "
                        f"preview {statistics.median(previews):.0f} ms; "
                        f"live {statistics.median(live):.0f} ms (95 %: {late:.0f}, "
                        f"{len(live)} results); load {os.getloadavg()[0]:.0f}",
                        flush=True,
                    )
        for side in sides.values():
            side.client.close()


if __name__ == "__main__":
    main()
