"""Rate and delays of an engine behind a slow connection, beside an engine of this machine.

`surgsam2 serve` runs in a network namespace of its own; a delay of 10 ms in each direction and
100 Mbit/s lie between it and the client. Local and remote runs alternate. It needs root, `ip`, `tc`
and `openssl`. The figures are in docs/notes/remote-engine.md.

    python docs/notes/experiments/remote_rate.py VIDEO [--frames 100] [--rounds 3] [--live-fps 5]
"""

from __future__ import annotations

import argparse
import os
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

NAMESPACE, HERE, THERE = "surgsam2-there", "10.77.13.1", "10.77.13.2"
SHAPE = ["netem", "delay", "10ms", "rate", "100mbit", "limit", "10000"]


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def slow_connection() -> Iterator[None]:
    """Make a namespace behind a pair of virtual devices, slowed down in both directions."""
    inside = ("ip", "netns", "exec", NAMESPACE)
    run("ip", "netns", "add", NAMESPACE)
    try:
        run("ip", "link", "add", "ss2-here", "type", "veth", "peer", "name", "ss2-there")
        run("ip", "link", "set", "ss2-there", "netns", NAMESPACE)
        run("ip", "addr", "add", f"{HERE}/24", "dev", "ss2-here")
        run("ip", "link", "set", "ss2-here", "up")
        run(*inside, "ip", "addr", "add", f"{THERE}/24", "dev", "ss2-there")
        run(*inside, "ip", "link", "set", "ss2-there", "up")
        run(*inside, "ip", "link", "set", "lo", "up")
        run("tc", "qdisc", "add", "dev", "ss2-here", "root", *SHAPE)
        run(*inside, "tc", "qdisc", "add", "dev", "ss2-there", "root", *SHAPE)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run `surgsam2 serve` in the namespace, with TLS; yield its token and its certificate."""
    certificate, key, token = (folder / name for name in ("cert.pem", "key.pem", "token"))
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        f"/CN={THERE}", "-addext", f"subjectAltName=IP:{THERE}",
        "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    process = subprocess.Popen(
        [
            "ip", "netns", "exec", NAMESPACE, sys.executable, "-m", "surgsam2", "serve",
            "--host", THERE, "--cert", str(certificate), "--key", str(key),
            "--token-file", str(token),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "with TLS" in process.stdout.readline()
        yield token.read_text().strip(), certificate
    finally:
        process.terminate()
        process.wait(20)


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
    with tempfile.TemporaryDirectory() as folder, slow_connection(), server(Path(folder)) as there:
        token, certificate = there
        sides = {
            "local": Side(args.video),
            "remote": Side(
                args.video, address=f"surgsam2://{THERE}", token=token, authorities=certificate
            ),
        }
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
