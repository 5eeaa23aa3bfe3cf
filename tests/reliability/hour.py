"""An hour of video through the job: does memory stay flat, and do names follow the frames?

    python -m tests.reliability.hour --frames 90000
    python -m tests.reliability.hour --frames 2000 --network

Every frame shows its own number in 20 blocks. Without ``--network`` the network is replaced
by one that marks the bright blocks, so each mask must read as the number that its file is
named after; all else is real: decoding, saved states, writers. With it, the 128-pixel network
runs and only memory and names are looked at.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from surgsam2 import PromptSet, open_video
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.tracking.encoded_frame import EncodedFrame
from surgsam2.tracking.memory import MaskOutput
from surgsam2.tracking.tracker import Tracker
from tests.reliability.kills import small_model
from tests.video.helpers import write_video, x264

ROWS, COLUMNS, BLOCK = 4, 5, 16
SIZE = (COLUMNS * BLOCK, ROWS * BLOCK)


def main() -> int:
    """Prints what was found; the exit code is 1 when a mask is not that of its frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=90_000)
    parser.add_argument("--network", action="store_true", help="the real one; no numbers to read")
    args = parser.parse_args()
    torch.set_num_threads(1)
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_video(
            folder / "hour.mp4", args.frames, size=SIZE, options=x264(50), frame=numbered_frame
        )
        model = small_model(folder)
        if not args.network:
            Tracker.condition = lambda self, *given: None  # type: ignore[assignment,method-assign]
            Tracker.advance = marked_blocks  # type: ignore[assignment,method-assign]
        prompts = PromptSet().add(object_id=1, frame=0, box=[0, 0, 40, 30])

        def note(steps: int, total: int, seconds: float) -> None:
            if steps % max(1, args.frames // 20) == 0:
                memory.append(resident_mebibytes())

        began = time.perf_counter()
        with open_video(folder / "hour.mp4") as video:
            report = segment_to_folder(
                model, video, prompts, folder / "out", JobOptions(), progress=note
            )
        seconds = time.perf_counter() - began
        masks = sorted((folder / "out" / "masks").iterdir(), key=lambda path: int(path.stem))
        names = [int(path.stem) for path in masks] == list(range(args.frames))
        wrong = 0 if args.network else sum(number_in(path) != int(path.stem) for path in masks)
    sys.stdout.write(
        f"{report['status']}: {args.frames} frames in {seconds:.0f} s; "
        f"names complete and in order: {names}; masks of another frame: {wrong}\n"
        f"MiB resident at each twentieth: {' '.join(f'{value:.0f}' for value in memory)}\n"
    )
    return 0 if names and not wrong else 1


def numbered_frame(number: int) -> Any:
    """A frame that shows its number, brightest bit first block."""
    bits = np.array([number >> bit & 1 for bit in range(ROWS * COLUMNS)], np.uint8)
    grey = np.kron(bits.reshape(ROWS, COLUMNS) * 180 + 30, np.ones((BLOCK, BLOCK), np.uint8))
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")


def number_in(path: Path) -> int:
    """The number whose bits a mask marks."""
    mask = np.array(Image.open(path)) > 0
    bits = mask[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].ravel()
    return sum(int(bit) << place for place, bit in enumerate(bits))


def marked_blocks(tracker: Tracker, work: EncodedFrame) -> dict[int, MaskOutput]:
    """In place of the network: what is bright is the object."""
    tracker.frame_index += 1
    logits = torch.from_numpy(work.frame[None, None, :, :, 0].astype(np.float32) - 120)
    return {1: MaskOutput(logits, torch.tensor([0.9, 0.9]))}


def resident_mebibytes() -> float:
    """Memory of this process now; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
