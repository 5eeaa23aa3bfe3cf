"""Starts the engine process: which Python, which environment, and how it ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from surgsam2.engine.protocol.events import FailureKind

# applications that embed Python set these for their own Python only
_FOREIGN = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "PYTHONPLATLIBDIR",
    "PYTHONNOUSERSITE",
    "__PYVENV_LAUNCHER__",
)
_PROBLEM = re.compile(r"^surgsam2-engine ([a-z]+): (.*)$", re.MULTILINE)
_TAIL_BYTES = 8192
_STDERR = "stderr.txt"


def default_python() -> str:
    """Return the interpreter of this very Python, also inside 3D Slicer.

    An application that embeds Python is not an interpreter itself. Slicer has
    ``PythonSlicer``, which it makes `sys.executable` or has on its ``PATH``.
    """
    executable = sys.executable or ""
    if "python" in Path(executable).stem.lower():
        return executable
    beside = Path(executable).with_name("PythonSlicer").with_suffix(Path(executable).suffix)
    found = shutil.which("PythonSlicer") or (str(beside) if beside.is_file() else None)
    return found or executable or shutil.which("python3") or "python3"


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a copy without what would lead another Python to this one's libraries."""
    return {name: value for name, value in environment.items() if name not in _FOREIGN}


class Process:
    """A running engine process.

    Args:
        python: interpreter to start.
        environment: all of its environment variables.
        folder: folder of its error output and shared files; also its working directory.
        settings: plain data that it reads from its standard input, which nobody else can read.
        module: the module whose `main` the process runs.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(
        self,
        python: str,
        environment: Mapping[str, str],
        folder: Path,
        settings: dict[str, object],
        module: str = "surgsam2.engine.server.main",
    ) -> None:
        self._stderr = folder / _STDERR
        package = Path(__file__).parents[2]
        bootstrap = str(package / "engine" / "server" / "bootstrap.py")
        command = [python, "-u", bootstrap, str(package.parent), module]
        with self._stderr.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        assert self._process.stdin is not None
        try:
            with self._process.stdin as stdin:
                stdin.write(json.dumps(settings).encode() + b"\n")
        except OSError:  # it ended at once: `exit_code` and `problem` will say so
            pass

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End the process; nothing of it needs to be saved."""
        self._process.kill()
        self._process.wait()

    def stderr_tail(self) -> str:
        """Return the end of what it wrote, for a report."""
        try:
            with self._stderr.open("rb") as file:
                file.seek(max(0, self._stderr.stat().st_size - _TAIL_BYTES))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def problem(self) -> tuple[FailureKind, str] | None:
        """Return kind and message if the first lines of the process found why it cannot run."""
        found = _PROBLEM.findall(self.stderr_tail())
        return found[-1] if found else None


def base_environment(environment: Mapping[str, str] | None) -> dict[str, str]:
    """Return `environment`, or this process's own, cleaned."""
    return clean_environment(os.environ if environment is None else environment)
