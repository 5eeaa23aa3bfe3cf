"""The maker of the processor."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from surgsam2.model.cpu import matmul
from surgsam2.model.cpu.processor import has_bfloat16_products, has_fast_bfloat16, is_intel


@pytest.fixture(autouse=True)
def _without_cache() -> Iterator[None]:
    is_intel.cache_clear()
    has_fast_bfloat16.cache_clear()
    yield
    is_intel.cache_clear()
    has_fast_bfloat16.cache_clear()


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


@pytest.mark.parametrize(
    ("flags", "isa", "fast"),
    [
        ("avx2 avx512f", None, False),
        ("avx2 avx512f avx512_bf16", None, True),
        ("avx512f amx_bf16", "default", True),
        ("avx512f avx512_bf16", "AVX512_CORE", False),
    ],
)
def test_fast_bfloat16_is_told_by_flags_and_onednns_limit(
    flags: str, isa: str | None, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"flags : {flags}")
    if isa is None:
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    else:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert has_fast_bfloat16() is fast


@pytest.mark.parametrize(("isa", "slow"), [("AVX2", False), ("avx2_vnni", False), ("ALL", True)])
def test_bfloat16_needs_avx512(isa: str, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN refuses bfloat16 without AVX-512, so sam2's modules compute it there."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    expected = slow and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert has_bfloat16_products() is expected
    if expected:
        x = torch.ones(2, 2, dtype=torch.bfloat16)
        assert matmul.linear(x, x).tolist() == [[2, 2], [2, 2]]


def test_pytorch_tells_of_fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and macOS have no /proc/cpuinfo."""

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    monkeypatch.setattr(Path, "read_text", missing)
    for present in (True, False):
        has_fast_bfloat16.cache_clear()
        capabilities = {"avx512_bf16": present, "num_logical_cores": 1}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda c=capabilities: c, raising=False)
        assert has_fast_bfloat16() is present
