"""Facts on the processor that PyTorch does not tell."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


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
