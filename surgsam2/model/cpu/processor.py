"""Facts on the processor that decide how products are computed."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

import torch

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
"""Names of the instructions that multiply bfloat16 natively, as Linux and PyTorch give them."""
_ISAS_WITHOUT_AVX512 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI")
_ISAS_WITHOUT_BFLOAT16 = (*_ISAS_WITHOUT_AVX512, "AVX512_CORE", "AVX512_CORE_VNNI")


def cpuinfo() -> dict[str, str]:
    """Return Linux's facts on the first core, such as `model name`; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return facts


@cache
def is_intel() -> bool:
    """Return whether Intel made the processor; MKL is slow on the others' newer ones."""
    if platform.system() == "Darwin":
        return platform.machine() == "x86_64"
    return "GenuineIntel" in (cpuinfo().get("vendor_id") or platform.processor())


@cache
def has_fast_bfloat16() -> bool:
    """Return whether bfloat16 products are faster than float32 ones, by the processor's flags.

    AMX and AVX512-BF16 multiply bfloat16 natively; without them PyTorch converts to float32. The
    environment variable `ONEDNN_MAX_CPU_ISA`, by which oneDNN is kept from using newer
    instructions, counts too.
    """
    if _largest_isa() in _ISAS_WITHOUT_BFLOAT16:
        return False
    # older versions of PyTorch do not tell
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    flags = {name for name, present in capabilities.items() if present is True}
    flags.update(cpuinfo().get("flags", "").split())
    return bool(flags & _BFLOAT16_FLAGS)


def has_bfloat16_products() -> bool:
    """Return whether oneDNN computes bfloat16 products at all: it refuses to without AVX-512."""
    if _largest_isa() in _ISAS_WITHOUT_AVX512:
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _largest_isa() -> str:
    """Return the instructions that the user limits oneDNN to; empty text for no limit."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
