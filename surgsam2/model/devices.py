"""Choose or check the device and the precision of a model."""

from __future__ import annotations

from typing import get_args

import torch

from surgsam2.errors import DeviceError, InputError
from surgsam2.model.cpu.processor import has_fast_bfloat16
from surgsam2.model.cuda.graphs import CudaGraphs

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_device(name: str | torch.device) -> torch.device:
    """Return the device of a name; `auto` is CUDA, else MPS, else the CPU.

    Raises:
        DeviceError: not a name of a device, or a device that this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    have = ", ".join(available_devices())
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"device {str(name)!r} is not a device name; here: {have}") from error
    usable = {
        "cpu": not device.index,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not usable.get(device.type, False):
        raise DeviceError(f"device {str(name)!r} is not available on this machine; here: {have}")
    return device


def available_devices() -> list[str]:
    """Return the names of the devices that work on this machine."""
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return [*devices, "mps"] if torch.backends.mps.is_available() else devices


def resolve_dtype(name: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the precision of a name.

    `auto` is bfloat16 on CUDA devices (from Ampere on) and CPUs (with AMX or AVX512-BF16) that
    multiply bfloat16 natively, and float32 elsewhere.

    Args:
        name: `auto`, or a precision by name or as a dtype.
        device: where the model runs.

    Raises:
        InputError: unknown name.
    """
    if name == "auto":
        fast = (device.type == "cuda" and _multiplies_bfloat16(device)) or (
            device.type == "cpu" and has_fast_bfloat16()
        )
        return torch.bfloat16 if fast else torch.float32
    if isinstance(name, torch.dtype) and name in DTYPES.values():
        return name
    if name not in DTYPES:
        raise InputError(f"dtype must be auto, {', '.join(DTYPES)}, got {str(name)!r}")
    return DTYPES[str(name)]


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether a CUDA device multiplies bfloat16 natively."""
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def check_cuda_graphs(choice: str, device: torch.device, *, compile: bool) -> None:
    """Check a choice of CUDA graphs.

    Args:
        choice: `auto`, `on` or `off`.
        device: where the model runs.
        compile: whether the network is compiled; it has no graphs then.

    Raises:
        InputError: unknown choice, or graphs of a compiled network.
        DeviceError: graphs are required on a device that has none.
    """
    if choice not in get_args(CudaGraphs):
        raise InputError(f"cuda_graphs must be {', '.join(get_args(CudaGraphs))}, got {choice!r}")
    if choice == "on" and device.type != "cuda":
        raise DeviceError(f"cuda_graphs=on needs a CUDA device, and the model is on {device}")
    if choice == "on" and compile:
        raise InputError("cuda_graphs=on cannot be had with compile; use one of the two")
