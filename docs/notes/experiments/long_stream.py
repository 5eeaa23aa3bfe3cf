"""Does a tracker get slower, or larger, while it tracks thousands of frames?

The built-in model tracks two objects through a generated clip that runs forward and backward, at
128 pixels in one thread. After every thousand frames the script prints the CPU time of a frame,
the same beside that of a fixed matrix product (which shares the busy machine's cache and clock),
the peak of the process's memory and the size of the tracker's memories.

    python docs/notes/experiments/long_stream.py [FRAMES]
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

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
PRODUCTS = 10
"""A product is timed after so many frames."""


def main(frames: int = 10_000) -> None:
    """Print a line after every thousand frames."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "lite-128.yaml"
        config.write_text(yaml.safe_dump({"model": load_config("lite", 128)}, sort_keys=False))
        model = surgsam2.load_model("demo", config=str(config), device="cpu", dtype="float32")
    pictures = [picture for _, picture, _ in generate_clip(1, frames=100, size=SIZE).frames()]
    matrix = torch.randn(256, 256)
    tracker, memory = Tracker(model, *SIZE), ProcessPeak()
    frame_time = product_time = 0.0
    for index, picture in zip(range(frames), cycle(pictures + pictures[-2:0:-1]), strict=False):
        began = time.thread_time()
        tracker.step(picture, make_prompts(2, SIZE) if index == 0 else None)
        frame_time += time.thread_time() - began
        if index % PRODUCTS == 0:
            began = time.thread_time()
            torch.mm(matrix, matrix)
            product_time += time.thread_time() - began
        if (index + 1) % SPAN == 0:
            print(  # noqa: T201
                f"{index + 1} frames: {1000 * frame_time / SPAN:.2f} ms each, "
                f"{frame_time / product_time / PRODUCTS:.2f} products, "
                f"peak {memory.peak_mb():.1f} MB, memories {memory_bytes(tracker)} bytes",
                flush=True,
            )
            frame_time, product_time, memory = 0.0, 0.0, ProcessPeak()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
