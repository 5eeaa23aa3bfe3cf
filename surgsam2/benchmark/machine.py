"""The machine that figures belong to, without its name or anybody's paths."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from surgsam2.evaluation.environment import environment


def describe_machine(device: str) -> dict[str, Any]:
    """Versions, system, cores and device, as in evaluation reports, and the processor's name."""
    return {**environment(device), "processor": _processor()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    widest = next((w for w in ("avx512f", "avx2") if w in facts.get("flags", "").split()), "")
    return f"{name} ({widest.rstrip('f').upper()})" if widest else name
