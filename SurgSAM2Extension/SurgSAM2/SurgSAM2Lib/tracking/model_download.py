"""Downloading a known model in a process of its own, so that Slicer stays usable."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import surgsam2
from surgsam2.errors import DownloadError

_INTERVAL_SECONDS = 0.05


def download_model(
    name: str,
    python: str,
    environment: Mapping[str, str],
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Run ``surgsam2 models download``, which verifies the checksum.

    Args:
        name: name of a known model.
        python: interpreter that has surgsam2's packages.
        environment: environment variables of the process.
        should_stop: asked many times a second; True ends the download.

    Returns:
        True when the weights are there, False when the download was stopped.

    Raises:
        DownloadError: the command failed; the message is its last line.
    """
    package = Path(surgsam2.__file__).parents[
        1
    ]  # it may lie beside the module without being installed
    command = [python, "-m", "surgsam2", "models", "download", name]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            env={**environment, "PYTHONPATH": str(package)},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        while process.poll() is None:
            if should_stop():
                process.kill()
                process.wait()
                return False
            time.sleep(_INTERVAL_SECONDS)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            raise DownloadError(lines[-1] if lines else f"{name} could not be downloaded")
    return True
