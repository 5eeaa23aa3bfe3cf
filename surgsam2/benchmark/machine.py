"""The machine that figures belong to, without its name or anybody's paths."""

from __future__ import annotations

import platform
from typing import Any

from surgsam2.evaluation.environment import environment
from surgsam2.model.cpu.processor import cpuinfo


def describe_machine(device: str) -> dict[str, Any]:
    """Versions, system, cores and device, as in evaluation reports, and the processor's name."""
    return {**environment(device), "processor": _processor()}


def _processor() -> str:
    facts = cpuinfo()
    name = facts.get("model name") or platform.processor() or platform.machine()
    widest = next((w for w in ("avx512f", "avx2") if w in facts.get("flags", "").split()), "")
    return f"{name} ({widest.rstrip('f').upper()})" if widest else name
