"""Fingerprints tell files apart without reading all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from surgsam2.errors import InputError
from surgsam2.storage.hashing import quick_fingerprint

MEGABYTE = 1 << 20


def test_tells_files_apart_by_size_and_ends(tmp_path: Path) -> None:
    content = bytearray(3 * MEGABYTE)
    contents = {"same": bytes(content), "longer": bytes(content) + b"1"}
    for name, place in (("first", 0), ("last", -1)):
        changed = content.copy()
        changed[place] = 1
        contents[name] = bytes(changed)
    found = {}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        found[name] = quick_fingerprint([tmp_path / name])
    assert len(set(found.values())) == 4
    moved = (tmp_path / "same").rename(tmp_path / "another name")
    assert quick_fingerprint([moved]) == found["same"]


def test_several_files_by_name_and_size(tmp_path: Path) -> None:
    files = [tmp_path / "1.png", tmp_path / "2.png"]
    for file in files:
        file.write_bytes(b"x")
    before = quick_fingerprint(files)
    files[1].write_bytes(b"xy")
    assert quick_fingerprint(files) != before
    assert quick_fingerprint(files[:1]) != before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone"):
        quick_fingerprint([tmp_path / "gone"])
