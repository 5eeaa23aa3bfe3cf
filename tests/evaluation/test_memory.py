"""The memory figure of a run."""

from __future__ import annotations

from surgsam2.evaluation import memory


def test_windows_and_mac_have_a_memory_figure(monkeypatch):
    monkeypatch.setattr(memory.Path, "read_text", lambda *_, **__: "")
    assert memory.resident_mb() > 1
