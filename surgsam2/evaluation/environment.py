"""Where the numbers of a report come from: versions, system, device."""

from __future__ import annotations

import platform
from typing import Any

import cv2
import numpy as np

from surgsam2.evaluation.parallel import cores
from surgsam2.version import __version__


def environment(device: str | None = None) -> dict[str, Any]:
    """Facts for the report. `device` is that of the models; None where none ran."""
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
