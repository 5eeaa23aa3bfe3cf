"""Temporary folders are private, and those of processes that were killed are removed."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

import pytest

from surgsam2.errors import OutputError
from surgsam2.storage import folder_lock
from surgsam2.storage.temporary import TemporaryFolder, remove_abandoned
from tests.reliability.conftest import in_child


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def left_by_a_killed_process(beside: Path | None = None) -> None:
    def work() -> None:
        folder = TemporaryFolder(beside)
        (folder.path / "masks").mkdir()
        (folder.path / "masks" / "frame.png").write_bytes(b"a patient")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(work) == -signal.SIGKILL


def test_it_is_empty_private_and_removed(place: Path) -> None:
    with TemporaryFolder() as folder:
        assert list(folder.iterdir()) == []
        (folder / "x").write_text("x")
        (made,) = place.iterdir()
        assert sys.platform == "win32" or made.stat().st_mode & 0o077 == 0
    assert list(place.iterdir()) == []


def test_it_goes_with_its_object(place: Path) -> None:
    folder = TemporaryFolder()
    assert folder.path.is_dir()
    del folder
    gc.collect()
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed(place: Path) -> None:
    left_by_a_killed_process()
    (left,) = place.iterdir()
    with TemporaryFolder() as folder:
        assert not left.exists()
        assert folder.is_dir()
        assert remove_abandoned() == []  # it is in use
        assert folder.is_dir()
    left_by_a_killed_process()
    (left,) = place.iterdir()
    assert remove_abandoned() == [left]
    assert list(place.iterdir()) == []


def test_beside_a_file_too(tmp_path: Path, place: Path) -> None:
    left_by_a_killed_process(tmp_path / "scene.mrb")
    assert list(tmp_path.glob(".surgsam2-*"))
    with TemporaryFolder(tmp_path / "scene.mrb"):
        pass
    assert not list(tmp_path.glob(".surgsam2-*"))
    assert list(place.iterdir()) == []


def test_a_living_child_keeps_it(place: Path) -> None:
    """A forked process holds the lock with its parent, and does not remove the folder."""
    made = TemporaryFolder()

    def work() -> None:
        assert remove_abandoned() == []
        made.remove()

    assert in_child(work) == 0
    assert made.path.is_dir()
    made.remove()


def test_nothing_else_is_removed(place: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / ".in-use").touch()
    (place / "surgsam2-link").symlink_to(precious)
    (place / "surgsam2-without-mark").mkdir()
    (place / "surgsam2-file").touch()
    (place / "other").mkdir()
    (place / "other" / ".in-use").touch()
    before = sorted(place.rglob("*"))
    assert remove_abandoned() == []
    assert sorted(place.rglob("*")) == before
    assert (precious / ".in-use").exists()


def test_a_file_system_without_locks(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can tell what is in use, nothing is removed."""

    def refuse(file: object) -> None:
        raise OSError(38, "Function not implemented")

    left_by_a_killed_process()
    (left,) = place.iterdir()
    monkeypatch.setattr(folder_lock, "_lock", refuse)
    with TemporaryFolder() as folder:
        assert remove_abandoned() == []
        assert folder.is_dir()
        assert left.is_dir()
    assert list(place.iterdir()) == [left]


def test_no_place(place: Path) -> None:
    place.rmdir()
    with pytest.raises(OutputError, match="TMPDIR chooses another"):
        TemporaryFolder()
    with pytest.raises(OutputError, match=r"scene\.mrb: No such file"):
        TemporaryFolder(place / "gone" / "scene.mrb")
    assert remove_abandoned() == []
