"""Arrays that are stored on disk."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgsam2.errors import OutputError
from surgsam2.storage.disk_store import DiskStore
from surgsam2.storage.limits import FRAMES
from surgsam2.storage.temporary import TemporaryFolder


@given(st.dictionaries(st.integers(0, 200), st.integers(0, 2**31), max_size=12))
def test_gives_back_what_was_put(content: dict[int, int]) -> None:
    store = DiskStore()
    for index, seed in content.items():
        store.put(index, a=np.arange(seed % 50), b=np.array([seed], np.uint32))
    assert store.indices() == sorted(content)
    for index, seed in content.items():
        arrays = store.get(index)
        assert np.array_equal(arrays["a"], np.arange(seed % 50))
        assert arrays["b"].tolist() == [seed]
        assert arrays["b"].dtype == np.uint32
    assert 999 not in store
    with pytest.raises(KeyError):
        store.get(999)
    store.close()
    store.close()


def test_the_last_one_put_counts() -> None:
    store = DiskStore()
    store.put(3, a=np.zeros(2))
    store.put(3, a=np.ones(5))
    assert store.get(3)["a"].tolist() == [1] * 5


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskStore()

    class Full:
        def seek(self, *place: int) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_file", Full())
    with pytest.raises(OutputError, match=r"TMPDIR chooses another.*No space left"):
        store.put(0, a=np.zeros(1))
    store.close()


def test_a_kept_file_is_taken_up_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.spool"
    first = DiskStore(path)
    for index in (4, 2, 4):
        first.put(index, a=np.array([index, first.length]))
    first.sync()
    length = first.length
    first.put(9, a=np.zeros(3))  # after the state that is continued
    first.close()
    second = DiskStore(path, length=length)
    assert second.indices() == [2, 4]
    assert second.get(4)["a"][1] > 0, "the later of the two"
    second.put(5, a=np.array([5]))
    assert path.exists()
    second.close()
    third = DiskStore(path, length=second.length)
    assert third.indices() == [2, 4, 5]
    third.close()
    assert DiskStore(tmp_path / "new.spool", length=0).indices() == []


@pytest.mark.parametrize("damage", ["cut", "head", "index", "content"])
def test_damage_to_a_kept_file_is_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.spool"
    store = DiskStore(path)
    for index in range(3):
        store.put(index, a=np.arange(50))
    store.close()
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-1:]
    else:
        data[{"head": 10, "index": 0, "content": 100}[damage]] ^= 255
    path.write_bytes(data)
    with pytest.raises(OutputError, match="damaged"):
        DiskStore(path, length=store.length).get(0)


def test_a_frame_index_beyond_every_video_is_damage(tmp_path: Path) -> None:
    """It would take eight bytes of memory for each frame before it, up to 2**31 frames."""
    path = tmp_path / "x.spool"
    store = DiskStore(path)
    store.put(1, a=np.arange(3))
    store.close()
    data = path.read_bytes()
    head = struct.pack("<q", FRAMES.value) + data[8:20]
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + data[24:])
    with pytest.raises(OutputError, match="damaged"):
        DiskStore(path, length=store.length)


def test_no_folder_for_temporary_files_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="cannot write the folder for temporary files"):
        DiskStore().put(0, a=np.zeros(1))
    with pytest.raises(OutputError, match="TMPDIR chooses another"), TemporaryFolder():
        pass
