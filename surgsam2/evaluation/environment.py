"""Facts about the machine and the software that produced the numbers of a report."""

from __future__ import annotations

import platform
from typing import Any

import cv2
import numpy as np

from surgsam2.evaluation.parallel import cores
from surgsam2.version import __version__

_VECTORS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX512-BF16",
    "avx512f": "AVX512",
    "avx2": "AVX2",
}
"""Flag of a processor -> name of its vector instructions, the fastest first."""


def environment(device: str | None = None) -> dict[str, Any]:
    """Return versions, system, number of cores and device.

    Args:
        device: Device of the models; None when no model ran.
    """
    facts: dict[str, Any] = {
        "surgsam2": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
    }
    if device is not None:
        import torch

        facts["torch"] = torch.__version__
        facts["device"] = device
        if device.startswith("cuda"):
            facts["device"] += f" ({torch.cuda.get_device_name(device)})"
    return facts


def processor_name() -> str:
    """Return the processor's name with its widest vector instructions, where they are known."""
    from surgsam2.model.cpu.processor import cpuinfo

    facts = cpuinfo()
    name = facts.get("model name") or platform.processor() or platform.machine()
    flags = facts.get("flags", "").split()
    widest = next((label for flag, label in _VECTORS.items() if flag in flags), "")
    return f"{name} ({widest})" if widest else name
