"""What PyTorch does not tell about the processor."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


def cpuinfo() -> dict[str, str]:
    """Linux's facts about the first core, such as `model name`; elsewhere none."""
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
    """Whether it is Intel's own, whose libraries take other makers' for older ones."""
    if platform.system() == "Darwin":
        return platform.machine() == "x86_64"
    return "GenuineIntel" in (cpuinfo().get("vendor_id") or platform.processor())
