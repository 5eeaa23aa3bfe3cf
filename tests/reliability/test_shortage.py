"""Memory and threads that run out, and processes that are forked: one message, and no waiting."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import surgsam2
from surgsam2 import PromptSet, cli
from surgsam2.commands import doctor
from surgsam2.errors import DeviceError, shortage
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.cpu.parallel import EncoderPool
from surgsam2.video import Video
from tests.reliability.conftest import in_child, run

ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 400 bytes. Error code 12 (Cannot allocate memory)"
)
SHORT = [
    MemoryError(),
    RuntimeError(ALLOCATOR),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("can't start new thread"),
]


@pytest.mark.parametrize("error", SHORT, ids=lambda error: str(error)[:20] or "nothing")
def test_a_command_says_it_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_short(args: object) -> int:
        raise error

    monkeypatch.setattr(doctor, "run", run_short)
    assert cli.main(["doctor"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        ("surgsam2: error: out of memory on", "surgsam2: error: the system refuses another thread")
    )


def test_other_errors_are_no_shortage() -> None:
    for error in (RuntimeError("surprise"), ValueError("x"), OSError(2, "No such file")):
        assert shortage(error) is None


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(ALLOCATOR)], ids=["plain", "torch"])
def test_a_run_is_continued_after_a_shortage(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """The file is not blamed, wherever the memory ran out."""
    read = Video.frames
    out = tmp_path / "out"

    def short(self: Any, *args: Any, **options: Any) -> Any:
        for index, frame in read(self, *args, **options):
            if index == 7:
                raise error
            yield index, frame

    with monkeypatch.context() as patch:
        patch.setattr(Video, "frames", short)
        with pytest.raises(DeviceError, match=r"^out of memory on cpu after \d+ frames; free"):
            run(a_model, a_short_file, two_objects, out)
    assert run(a_model, a_short_file, two_objects, out, resume=True)["status"] == "complete"


READ_WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from surgsam2.storage.image_file import read_pixels

read_pixels(Path(sys.argv[1]))  # what reading imports is there before memory is short
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, used + 2**24))
try:
    read_pixels(Path(sys.argv[2]))
except MemoryError:
    print("short of memory")
"""


def test_a_sound_image_is_not_called_damaged(tmp_path: Path) -> None:
    """A process of its own reads it: this one may keep enough freed memory for the image."""
    pytest.importorskip("resource", reason="limits of memory are POSIX")
    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory in use is told by Linux")
    files = tmp_path / "small.png", tmp_path / "large.png"
    for path, side in zip(files, (8, 8000), strict=True):
        Image.fromarray(np.zeros((side, side), np.uint8)).save(path)
    done = subprocess.run(
        [sys.executable, "-c", READ_WITH_LITTLE_MEMORY, *files],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "short of memory\n", done.stderr


@pytest.mark.parametrize("refused", [1, 2, 3, 4])
def test_a_refused_thread_leaves_none_waiting(
    monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    start, count, before = threading.Thread.start, 0, threading.active_count()
    threads = torch.get_num_threads()

    def limited(self: threading.Thread) -> None:
        nonlocal count
        count += 1
        if count == refused:
            raise RuntimeError("can't start new thread")
        start(self)

    torch.set_num_threads(2)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", limited)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                EncoderPool(torch.no_grad, useful=True)
        assert threading.active_count() == before
        with ThreadPoolExecutor(1) as pool:  # a sound pool afterwards
            assert pool.submit(int).result() == 0
        EncoderPool(torch.no_grad, useful=True).close()
    finally:
        torch.set_num_threads(threads)


def test_forked_after_use(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    """PyTorch's threads do not come along; the forked process computes with one thread."""
    prompts = PromptSet().add(object_id=1, frame=0, points=[[40, 60, 1]])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        whole = surgsam2.segment_video(a_model, a_clip[:4], prompts)
        next(whole)

        def track() -> None:
            signal.alarm(120)
            assert len(list(surgsam2.segment_video(a_model, a_clip[:4], prompts))) == 4
            with pytest.raises(DeviceError, match="begin to read or to track after the fork"):
                next(whole)

        assert in_child(track) == 0
        assert len(list(whole)) == 3
    finally:
        torch.set_num_threads(threads)
