"""Latency of the streaming tracker, from a frame to its masks on the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surgsam2.benchmark.case import WARM_UP
from surgsam2.benchmark.clip import make_prompts
from surgsam2.errors import DeviceError
from surgsam2.model.build import SurgSAM2Model, load_model
from surgsam2.prompts import PromptSet
from surgsam2.storage.json_text import parse_json
from surgsam2.tracking.tracker import Tracker
from surgsam2.video import open_video


def frame_times(
    model: SurgSAM2Model, frames: Iterable[np.ndarray], prompts: PromptSet
) -> tuple[list[float], list[float]]:
    """Track a stream of (H, W, 3) frames, prompted on the first one.

    Returns:
        Wall time and CPU time of each frame in milliseconds.
    """
    tracker: Tracker | None = None
    wall, cpu = [], []
    for frame in frames:
        began, worked = time.perf_counter(), time.process_time()
        if tracker is None:
            tracker = Tracker(model, frame.shape[1], frame.shape[0])
            tracker.step(frame, prompts)
        else:
            tracker.step(frame)
        wall.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - worked) * 1000)
    return wall, cpu


def measure_live(clip: Path, device: str, dtype: str, threads: int, frames: int) -> dict[str, Any]:
    """Measure the built-in model with one object on a clip that is repeated.

    Args:
        clip: The clip.
        device: Device of the model.
        dtype: Precision of the model.
        threads: Number of threads of PyTorch; 0 keeps PyTorch's choice.
        frames: Number of frames that count; the first ones, while memories gather, do not.

    Returns:
        `p50_ms` and `p99_ms` of wall time, the median `cpu_ms`, `frames`, `threads`, and the
        machine's `load` (average of a minute at the end; None where the system has none).
    """
    if threads:
        torch.set_num_threads(threads)
    model = load_model("demo", device=device, dtype=dtype)
    with open_video(clip) as video:
        pictures = [frame for _, frame in video.frames()]
    prompts = make_prompts(1, (pictures[0].shape[1], pictures[0].shape[0]))
    wall, cpu = frame_times(model, islice(cycle(pictures), 2 * WARM_UP + frames), prompts)
    p50, p99 = np.percentile(wall[2 * WARM_UP :], (50, 99))
    return {
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "cpu_ms": float(np.median(cpu[2 * WARM_UP :])),
        "frames": frames,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def measure_live_in_process(
    clip: Path, device: str, dtype: str, threads: int, frames: int
) -> dict[str, Any]:
    """Call `measure_live` in a new process.

    Raises:
        DeviceError: The process failed. The message ends with the process's own error.
    """
    arguments = [str(clip), device, dtype, str(threads), str(frames)]
    done = subprocess.run(
        [sys.executable, "-m", "surgsam2.benchmark.live", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise DeviceError(f"the live tracker could not be measured: {lines[-1]}")
    figures: dict[str, Any] = parse_json(done.stdout)
    return figures


if __name__ == "__main__":
    numbers = map(int, sys.argv[4:6])
    json.dump(measure_live(Path(sys.argv[1]), sys.argv[2], sys.argv[3], *numbers), sys.stdout)
