"""Decoding ahead: bounded, and it ends with the iterator however that ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import surgsam2
from surgsam2.errors import VideoError
from surgsam2.video.base import PREFETCH
from surgsam2.video.prefetch import Prefetcher
from tests.video.helpers import number_in, open_files, prefetch_threads


def test_the_queue_is_bounded() -> None:
    made = []

    def produce(cancelled):
        for i in range(1000):
            made.append(i)
            yield i

    worker = Prefetcher(produce, 3)
    assert worker.get() == 0
    time.sleep(0.05)
    assert len(made) <= 1 + 3
    assert [worker.get() for _ in range(5)] == [1, 2, 3, 4, 5]
    worker.close()
    worker.close()
    assert worker.get() is None


def test_items_before_an_error_arrive_first() -> None:
    def produce(cancelled):
        yield 1
        yield 2
        raise KeyError("here")

    worker = Prefetcher(produce, 8)
    assert (worker.get(), worker.get()) == (1, 2)
    with pytest.raises(KeyError, match="here"):
        worker.get()
    worker.close()


def test_the_producer_is_told_and_closed() -> None:
    closed = threading.Event()

    def produce(cancelled):
        try:
            while not cancelled():
                time.sleep(0.001)
            yield 1
        finally:
            closed.set()

    Prefetcher(produce, 1).close()
    assert closed.is_set()


def idle(folder: Path) -> bool:
    return not prefetch_threads() and not open_files(folder)


@pytest.mark.parametrize("reverse", [False, True])
def test_leaving_an_iteration_ends_its_thread(
    a_short_video: Path, tmp_path: Path, reverse: bool
) -> None:
    video = surgsam2.open_video(a_short_video)
    assert idle(tmp_path)

    for _ in video.frames(reverse=reverse):
        assert len(prefetch_threads()) == 1
        break
    assert idle(tmp_path)

    frames = video.frames(reverse=reverse)
    next(frames)
    frames.close()
    assert idle(tmp_path)

    def fail() -> None:
        for _ in video.frames(reverse=reverse):
            raise KeyError("in the loop")

    with pytest.raises(KeyError):
        fail()
    assert idle(tmp_path)

    video.frames(reverse=reverse)  # never started
    assert idle(tmp_path)
    assert len(list(video.frames(reverse=reverse))) == 40
    assert idle(tmp_path)


def test_closing_the_video_ends_its_iterations(a_short_video: Path, tmp_path: Path) -> None:
    with surgsam2.open_video(a_short_video) as video:
        frames, others = video.frames(), iter(video)
        next(frames)
        next(others)
        video[3]
        assert len(prefetch_threads()) == 2
        assert open_files(tmp_path) or not Path("/proc/self/fd").is_dir()
    assert idle(tmp_path)
    for use in (
        lambda: next(frames),
        lambda: next(others),
        lambda: video[0],
        video.frames,
        lambda: list(video),
    ):
        with pytest.raises(VideoError, match="was closed; open it again"):
            use()
    video.close()


def test_closing_the_video_ends_an_iteration_that_just_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video = surgsam2.open_video(np.zeros((50, 4, 6, 3), np.uint8))

    class Late(Prefetcher):
        """Another thread closes the video before that knows of this one."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            closing = threading.Thread(target=video.close)
            closing.start()
            closing.join()

    monkeypatch.setattr("surgsam2.video.base.Prefetcher", Late)
    with pytest.raises(VideoError, match="was closed; open it again"):
        list(video)
    assert not prefetch_threads()


def test_several_readers_at_once(a_short_video: Path) -> None:
    with surgsam2.open_video(a_short_video) as video:
        for (i, a), (j, b) in zip(video.frames(), video.frames(reverse=True), strict=True):
            assert (number_in(a), number_in(b)) == (i, j)
            assert number_in(video[(i * 7) % 40]) == (i * 7) % 40


def test_random_access_from_many_threads(a_short_video: Path) -> None:
    wrong = []
    with surgsam2.open_video(a_short_video) as video:

        def read(step: int) -> None:
            for k in range(20):
                i = k * step % 40
                if number_in(video[i]) != i:
                    wrong.append(i)

        threads = [threading.Thread(target=read, args=(step,)) for step in (1, 3, 7, 39)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_an_array_is_prefetched_too() -> None:
    array = np.zeros((50, 4, 6, 3), np.uint8)
    frames = surgsam2.open_video(array).frames()
    next(frames)
    assert len(prefetch_threads()) == 1
    frames.close()
    assert PREFETCH < 16


def test_a_kept_iterator_does_not_block_the_exit(a_short_video: Path) -> None:
    code = (
        "import surgsam2, sys\n"
        "video = surgsam2.open_video(sys.argv[1])\n"
        "frames = video.frames()\n"
        "next(frames)\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(a_short_video)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "done", "")
