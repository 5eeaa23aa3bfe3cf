"""Fixtures for the tests of `surgsam2.video`; helpers are in `helpers.py`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.video.helpers import open_files, prefetch_threads, write_video, x264


@pytest.fixture(autouse=True)
def _nothing_is_left_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # fixtures of other packages may hold files of their own
    before = set(open_files(tmp_path_factory.getbasetemp()))

    def left_open() -> set[str]:
        return set(open_files(tmp_path_factory.getbasetemp())) - before

    yield
    if prefetch_threads() or left_open():
        gc.collect()  # slow where many packages are loaded; what a cycle holds may end here
    assert prefetch_threads() == []
    assert left_open() == set()


@pytest.fixture
def a_short_video(tmp_path: Path) -> Path:
    """40 frames of H.264 with B-frames and a key frame every 10."""
    return write_video(tmp_path / "short.mp4", options=x264(10, 2))
