"""A short clip, two objects, and runs that can be killed."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from surgsam2 import PromptSet, open_video
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.model.build import SurgSAM2Model
from tests.conftest import disc, moving_picture
from tests.video.helpers import write_video

WIDTH, HEIGHT, FRAMES = 96, 72, 12
FORMATS = ("png", "overlay", "coco", "csv")


@pytest.fixture(scope="session")
def a_short_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_short_file(tmp_path_factory.mktemp("reliability") / "clip.mp4")


def write_short_file(path: Path, frames: int = FRAMES) -> Path:
    """Frames of 96x72."""
    pictures = moving_picture(frames, WIDTH, HEIGHT)
    return write_video(
        path,
        frames,
        size=(WIDTH, HEIGHT),
        frame=lambda i: av.VideoFrame.from_ndarray(pictures[i], format="rgb24"),
    )


@pytest.fixture
def two_objects() -> PromptSet:
    return prompts_for_two()


def prompts_for_two() -> PromptSet:
    """Object 1 on frames 1 and 8, object 2 on frame 5."""
    prompts = PromptSet().add(object_id=1, frame=1, mask=disc(WIDTH, HEIGHT, 30, 36, 12))
    prompts.add(object_id=1, frame=8, box=[20, 20, 60, 50])
    return prompts.add(object_id=2, frame=5, mask=disc(WIDTH, HEIGHT, 60, 36, 10))


def run(
    model: SurgSAM2Model,
    file: Path,
    prompts: PromptSet,
    out: Path,
    *,
    on_step: Callable[[int], None] = lambda steps: None,
    **options: Any,
) -> dict[str, Any]:
    """The job with a state saved after every other frame."""
    chosen = JobOptions.from_mapping({"formats": FORMATS, "checkpoint_every": 2} | options)
    with open_video(file) as video:
        return segment_to_folder(
            model, video, prompts, out, chosen, progress=lambda steps, *_: on_step(steps)
        )


def in_child(work: Callable[[], None]) -> int:
    """Do something in a forked process; its exit code, negative for a signal.

    The child collects no garbage: what its parent left may be a video codec, and closing that
    waits for threads that the child does not have.
    """
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    child = os.fork()
    if child == 0:
        code = 1
        gc.disable()
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def kill_at(step: int) -> Callable[[int], None]:
    """For `run`: ends the process at this step as the kernel would, with nothing closed."""

    def check(steps: int) -> None:
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return check


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the report, by name; times in the table are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith(("report.json", ".results")):
            found[name] = path.read_bytes()
            if name == "frames.csv":
                rows = found[name].splitlines()
                found[name] = b"\n".join(row.rpartition(b",")[0] for row in rows)
    return found
