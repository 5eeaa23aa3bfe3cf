"""Does a tracker get slower, or larger, while it tracks thousands of frames?

The built-in model tracks two objects through a generated clip that runs forward and backward, at
128 pixels in one thread. After every thousand frames a fresh tracker takes the next frames in turns
with the old one. The script prints the CPU time of a frame of both and how far apart they are
(other work on the machine slows both alike), the peak of the process's memory and the size of the
old tracker's memories.

    python docs/notes/experiments/long_stream.py [FRAMES]
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
import yaml

import surgsam2
from surgsam2 import Tracker
from surgsam2.benchmark.clip import make_prompts
from surgsam2.data import generate_clip
from surgsam2.evaluation.runs.cost import ProcessPeak
from surgsam2.model.configs import load_config
from tests.tracking.memory_size import memory_bytes

SIZE = (320, 180)
SPAN = 1000
"""Number of frames between two lines."""
WARM_UP = 20
"""Frames of a fresh tracker that do not count, while it gathers memories."""
COMPARED = 100
"""Frames that both trackers take."""


def main(frames: int = 10_000) -> None:
    """Print a line after every thousand frames."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "lite-128.yaml"
        config.write_text(yaml.safe_dump({"model": load_config("lite", 128)}, sort_keys=False))
        model = surgsam2.load_model("demo", config=str(config), device="cpu", dtype="float32")
    pictures = [picture for _, picture, _ in generate_clip(1, frames=100, size=SIZE).frames()]
    stream = cycle(pictures + pictures[-2:0:-1])

    def begun() -> Tracker:
        tracker = Tracker(model, *SIZE)
        tracker.step(next(stream), make_prompts(2, SIZE))
        return tracker

    def milliseconds(tracker: Tracker, picture: np.ndarray) -> float:
        began = time.thread_time()
        tracker.step(picture)
        return 1000 * (time.thread_time() - began)

    tracker, memory = begun(), ProcessPeak()
    while tracker.frame_index < frames:
        for _ in range(SPAN - WARM_UP - COMPARED):
            tracker.step(next(stream))
        fresh = begun()
        for _ in range(WARM_UP):
            picture = next(stream)
            fresh.step(picture)
            tracker.step(picture)
        pairs = [
            (milliseconds(tracker, picture), milliseconds(fresh, picture))
            for picture in islice(stream, COMPARED)
        ]
        old, new = np.median(pairs, axis=0)
        print(  # noqa: T201
            f"{tracker.frame_index} frames: {old:.2f} ms, of a fresh tracker {new:.2f}, "
            f"{100 * np.median([a / b for a, b in pairs]) - 100:+.1f} %; peak "
            f"{memory.peak_mb():.1f} MB, memories {memory_bytes(tracker)} bytes",
            flush=True,
        )
        memory = ProcessPeak()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
