"""Finds out how much memory is free, without further packages."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path


def free_memory() -> int | None:
    """Return the number of bytes that programs can still take without swapping.

    None where that is not known. macOS has no such number; there it is half of the machine's
    memory. (Slicer's Python has no package for this before packages are installed.)
    """
    if sys.platform == "win32":
        return _windows()
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError):
        return None


class _Status(ctypes.Structure):
    """Windows' MEMORYSTATUSEX."""

    _fields_ = (
        ("length", ctypes.c_ulong),
        ("load", ctypes.c_ulong),
        ("total", ctypes.c_ulonglong),
        ("available", ctypes.c_ulonglong),
        ("others", ctypes.c_ulonglong * 5),
    )


def _windows() -> int | None:
    status = _Status(length=ctypes.sizeof(_Status))
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    return int(status.available) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None
