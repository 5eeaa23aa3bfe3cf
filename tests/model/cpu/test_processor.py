"""The maker of the processor."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from surgsam2.model.cpu.processor import is_intel


@pytest.fixture(autouse=True)
def _without_cache() -> Iterator[None]:
    is_intel.cache_clear()
    yield
    is_intel.cache_clear()


@pytest.mark.parametrize(("vendor", "intel"), [("GenuineIntel", True), ("AuthenticAMD", False)])
def test_linux_names_the_maker(vendor: str, intel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"processor : 0\nvendor_id : {vendor}")
    assert is_intel() is intel


@pytest.mark.parametrize("vendor", ["GenuineIntel", "AuthenticAMD"])
def test_windows_has_it_in_the_name(vendor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(platform, "processor", lambda: f"Family 6 Model 158, {vendor}")
    assert is_intel() is (vendor == "GenuineIntel")


@pytest.mark.parametrize(("machine", "intel"), [("x86_64", True), ("arm64", False)])
def test_macs(machine: str, intel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert is_intel() is intel
