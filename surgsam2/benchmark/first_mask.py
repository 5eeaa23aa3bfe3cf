"""Time that a user waits for the first mask, from the start of the process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from surgsam2.benchmark.clip import make_prompts
from surgsam2.errors import DeviceError
from surgsam2.prompts import save_prompts
from surgsam2.video import open_video

_TIMEOUT = 300.0
_POLL_INTERVAL = 0.01


def seconds_to_first_mask(video: Path, folder: Path, device: str = "auto") -> float:
    """Run `surgsam2 segment` with the built-in model and one object until it writes a mask.

    Args:
        video: The clip.
        folder: Folder for prompts and results, made when absent.
        device: Device of the model.

    Returns:
        Seconds from the start of the process.

    Raises:
        DeviceError: The process ended, or five minutes passed, without a mask.
    """
    with open_video(video) as opened:
        prompts = make_prompts(1, (opened.width, opened.height))
    folder.mkdir(parents=True, exist_ok=True)
    save_prompts(prompts, folder / "prompts.json")
    output = folder / "results"
    command = [sys.executable, "-m", "surgsam2", "segment", str(video), "--formats", "png"]
    command += ["--prompts", str(folder / "prompts.json"), "--output", str(output)]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--device", device], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while time.perf_counter() - start < _TIMEOUT:
            running = process.poll() is None
            if (output / "masks" / "00000.png").exists():
                return time.perf_counter() - start
            if not running:
                break
            time.sleep(_POLL_INTERVAL)
        raise DeviceError("surgsam2 segment wrote no mask; run it by hand to see why")
    finally:
        process.kill()
        process.wait()
