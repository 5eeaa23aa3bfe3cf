"""Locks end with the process that holds them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from surgsam2.storage import folder_lock as lock
from surgsam2.storage.folder_lock import exclusive
from tests.reliability.conftest import in_child


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with exclusive(path):
        with pytest.raises(BlockingIOError), exclusive(path):
            pass
        with exclusive(tmp_path / "y"):
            pass
    with exclusive(path):
        pass
    assert path.read_bytes() == b""


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    def die() -> None:
        with exclusive(tmp_path / "x"):
            os.kill(os.getpid(), 9)

    assert in_child(die) == -9
    with exclusive(tmp_path / "x"):
        pass


def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", refuse)
    with exclusive(tmp_path / "x"):
        assert "cannot be locked on this file system: No locks available" in caplog.text
