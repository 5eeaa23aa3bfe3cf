"""The report of a run as a file, and the versions in it."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.storage.atomic_file import write_text_atomically
from surgsam2.storage.output_folder import PROGRAM
from surgsam2.version import __version__

_PACKAGES = ("torch", "sam2", "monai", "numpy", "av")


def write_report(folder: Path | str, report: Mapping[str, Any]) -> Path:
    """Write ``report.json`` atomically, after an entry ``"program": "surgsam2"``.

    Args:
        folder: the output folder.
        report: values that JSON knows, numpy numbers and arrays, tuples, paths and fractions.
            NaN and infinity become null.

    Returns:
        The path of the file.

    Raises:
        OutputError: the disk refuses.
    """
    path = Path(folder) / "report.json"
    data = _plain({"program": PROGRAM, **report})
    write_text_atomically(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    return path


def collect_versions() -> dict[str, str | None]:
    """Return the versions of surgsam2, Python, the platform and packages, None if not installed.

    They are read from the packages' metadata; nothing is imported.
    """
    versions: dict[str, str | None] = {
        "surgsam2": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, int):
        return value
    # Names of files need not be text in any encoding.
    return str(value).encode(errors="replace").decode()
