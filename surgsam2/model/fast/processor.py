"""What PyTorch does not tell about the processor."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def is_intel() -> bool:
    """Whether it is Intel's own, whose libraries take other makers' for older ones."""
    if platform.system() == "Darwin":
        return platform.machine() == "x86_64"
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        facts = platform.processor()
    return "GenuineIntel" in facts
