"""Check and measure a machine with a GPU in one command of at most six minutes.

`python -m surgsam2.benchmark.gpu_check --output FOLDER` runs the steps of `STEPS` one after
another, each in a process of its own with a limit of its time. A step that fails or takes too
long does not stop the others. `gpu-check.json` records them all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surgsam2.benchmark.case import WARM_UP
from surgsam2.benchmark.clip import make_prompts, write_clip
from surgsam2.benchmark.live import frame_times
from surgsam2.benchmark.sam2_predictor import make_predictor, open_session, propagate
from surgsam2.errors import DeviceError
from surgsam2.evaluation.environment import environment
from surgsam2.model.build import SurgSAM2Model, load_model
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.prompts import PromptSet
from surgsam2.storage.atomic_file import write_bytes_atomically
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.temporary import TemporaryFolder
from surgsam2.video import Video, open_video

RECORD = "gpu-check.json"
LIVE = ("surgsam2", "surgsam2-plain", "surgsam2-compiled", "sam2", "sam2-vos-optimized")
"""Subjects whose latency is measured frame by frame; `plain` is without CUDA graphs."""
_CONFIG = {512: "surgsam2-hiera-small-512", 1024: "sam2.1-hiera-small-1024"}
_SIZE = (1280, 720)


@dataclass(frozen=True)
class Step:
    """A process of the check."""

    name: str
    """Name in the record."""
    seconds: int
    """Limit of its time."""
    command: tuple[str, ...]
    """Arguments of the Python interpreter; `{output}` and `{device}` are replaced."""


def _live(subject: str, image_size: int, objects: int, frames: int, seconds: int) -> Step:
    command = ("-m", "surgsam2.benchmark.gpu_check", "--device", "{device}", "--live", subject)
    numbers = (f"--image-size={image_size}", f"--objects={objects}", f"--frames={frames}")
    return Step(f"{subject}, {objects} at {image_size}", seconds, (*command, *numbers))


STEPS = (
    Step("tests", 50, ("-m", "pytest", "-q", "-m", "gpu", "tests/model", "tests/tracking")),
    Step("fake tensors", 20, ("-m", "pytest", "-q", "tests/model/test_fake_device.py")),
    *(_live(s, 512, n, 60, 17) for s in ("surgsam2", "sam2") for n in (1, 4, 8)),
    *(_live(s, 1024, n, 40, 18) for s in ("surgsam2", "sam2") for n in (1, 4)),
    _live("surgsam2-plain", 512, 1, 60, 14),
    _live("surgsam2-compiled", 512, 1, 60, 45),
    _live("sam2-vos-optimized", 512, 1, 60, 55),
)
"""The steps; their limits add up to six minutes at most."""


def run_steps(steps: tuple[Step, ...], output: Path, device: str) -> dict[str, Any]:
    """Run steps one after another and write the record after each.

    Args:
        steps: the steps.
        output: folder of the record, which is made.
        device: device that the steps use.

    Returns:
        The record: `environment`, and for every step `name`, `seconds`, `status` (`done`,
        `failed` or `too long`), and either `figures`, if it printed JSON, or the end of its
        `output`.
    """
    output.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"environment": environment(device), "steps": []}
    for step in steps:
        print(f"{step.name}: at most {step.seconds} s", file=sys.stderr)  # noqa: T201
        record["steps"].append(_run_step(step, output, device))
        write_bytes_atomically(output / RECORD, json.dumps(record, indent=1).encode())
    return record


def _run_step(step: Step, output: Path, device: str) -> dict[str, Any]:
    command = [part.format(output=output, device=device) for part in step.command]
    required = {**os.environ, "SURGSAM2_REQUIRE_GPU": "1"} if "cuda" in device else None
    began, status = time.perf_counter(), "done"
    try:
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            timeout=step.seconds,
            env=required,
            check=False,
        )
        text = done.stdout
        if done.returncode:
            status, text = "failed", done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        status, text = "too long", ""
    result = {**asdict(step), "status": status, "took": time.perf_counter() - began}
    try:
        return {**result, "figures": parse_json(text.strip().splitlines()[-1])}
    except (ValueError, LookupError):
        return {**result, "output": text[-2000:]}


def measure_live(
    subject: str, device: str, image_size: int, objects: int, frames: int
) -> dict[str, Any]:
    """Measure a subject on a generated clip, frame by frame, with untrained weights.

    Args:
        subject: one of `LIVE`.
        device: device that the network runs on.
        image_size: 512 or 1024, the side of the network's input in pixels.
        objects: number of objects, 1 to 16.
        frames: length of the clip; the first frames are a warm-up and do not count.

    Returns:
        Milliseconds from a frame to its masks on the host (`p50_ms`, `p99_ms`), and the peak
        of the GPU's memory in MB (`gpu_mb`, None without CUDA).
    """
    name = _CONFIG[image_size]
    with TemporaryFolder() as folder:
        weights, clip = folder / "untrained.pt", folder / "clip.mp4"
        network = build_network(load_config(name), name, SurgSAM2Network)
        torch.save({"model": network.state_dict()}, weights)
        model = load_model(
            weights,
            config=name,
            device=device,
            compile=subject == "surgsam2-compiled",
            cuda_graphs="auto" if subject == "surgsam2" else "off",
        )
        write_clip(clip, frames, _SIZE)
        with open_video(clip) as video:
            run = _track_ours if subject.startswith("surgsam2") else _track_sam2
            times = run(model, video, make_prompts(objects, _SIZE), subject)
    counted = times[min(2 * WARM_UP, frames // 2) :]
    p50, p99 = np.percentile(counted, (50, 99))
    on_gpu = model.device.type == "cuda"
    peak = torch.cuda.max_memory_allocated(model.device) / 2**20 if on_gpu else None
    return {"p50_ms": float(p50), "p99_ms": float(p99), "frames": len(counted), "gpu_mb": peak}


def _track_ours(
    model: SurgSAM2Model, video: Video, prompts: PromptSet, subject: str
) -> list[float]:
    return frame_times(model, (frame for _, frame in video.frames()), prompts)[0]


def _track_sam2(
    model: SurgSAM2Model, video: Video, prompts: PromptSet, subject: str
) -> list[float]:
    """Track with sam2's predictor, whose frames are preprocessed in advance and not counted."""
    predictor = make_predictor(model, optimized=subject == "sam2-vos-optimized")
    times = []
    with torch.inference_mode(), model.autocast():
        session = open_session(predictor, model, video, video.frame_count)
        began = time.perf_counter()
        for _, logits in propagate(predictor, session, prompts):
            (logits > 0).cpu()
            times.append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
    return times


def main() -> int:
    """Run the check, or one of its measurements."""
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("gpu-check"))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--live", choices=LIVE, help="measure one subject only")
    parser.add_argument("--image-size", type=int, choices=sorted(_CONFIG), default=512)
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--frames", type=int, default=60)
    args = parser.parse_args()
    if args.live:
        figures = measure_live(args.live, args.device, args.image_size, args.objects, args.frames)
        print(json.dumps(figures))  # noqa: T201
        return 0
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"gpu-check: {DeviceError('PyTorch finds no CUDA device')}", file=sys.stderr)  # noqa: T201
        return 2
    record = run_steps(STEPS, args.output, args.device)
    failed = [step["name"] for step in record["steps"] if step["status"] != "done"]
    print(f"written: {args.output / RECORD}; not done: {', '.join(failed) or 'none'}")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
