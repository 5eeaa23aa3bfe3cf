"""Reads a scene in another process first, because damaged files can crash the reader."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path

from surgsam2.engine.client.launch import Process, base_environment, default_python
from surgsam2.engine.protocol.framing import EXPLAINED
from surgsam2.errors import InputError
from surgsam2.mrml.free_memory import free_memory
from surgsam2.mrml.scene_check import UnpackedScene
from surgsam2.storage.limits import ARCHIVE_BYTES
from surgsam2.storage.temporary import TemporaryFolder

_MODULE = "surgsam2.mrml.scene_process"
_SECONDS = 60.0
"""Seconds of processor time that reading may take, and as many again for every `_BYTES`."""
_PATIENCE = 10.0
"""How many times that may pass on the clock: other programs may keep the processor busy."""
_BYTES = 600_000_000
_OUT_OF_TIME = -signal.SIGXCPU if hasattr(signal, "SIGXCPU") else None
"""Exit code of a process that has used up its processor time; Windows limits the clock's alone."""
_ADVICE = "it is damaged or made to do harm, ask for a new copy"


def try_scene(scene: UnpackedScene, classes: Sequence[str], source: Path) -> None:
    """Have another process read a scene, which may crash or hang that process.

    Args:
        scene: the files; they must not change until the scene is read here.
        classes: names of the classes that reading it here will use.
        source: the scene file, for messages.

    Raises:
        InputError: the scene cannot be read; the process crashed, took too long, or needed
            more memory than is free.
    """
    size = sum(file.stat().st_size for file in scene.folder.rglob("*") if file.is_file())
    seconds = _SECONDS * (1 + size / _BYTES)
    deadline = time.monotonic() + _PATIENCE * seconds
    memory = min(free_memory() or ARCHIVE_BYTES.value, ARCHIVE_BYTES.value)
    with TemporaryFolder() as folder:
        settings: dict[str, object] = {
            "description": str(scene.description),
            "classes": list(classes),
            "memory": memory,
            "seconds": seconds,
        }
        # files that it leaves when it crashes are removed with the folder
        environment = base_environment(None) | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
        try:
            process = Process(default_python(), environment, folder, settings, _MODULE)
        except OSError as error:
            raise InputError(
                f"{source}: cannot be checked before it is opened, because "
                f"{default_python()} cannot be started ({error})"
            ) from error
        try:
            while (code := process.exit_code()) is None:
                if time.monotonic() > deadline:
                    raise InputError(f"{source}: reading it does not come to an end; {_ADVICE}")
                time.sleep(0.01)
            problem = process.problem() if code == EXPLAINED else None
        finally:
            process.kill()
    if problem is not None:
        kind, text = problem
        what = "" if kind == "input" else "cannot be checked before it is opened: "
        raise InputError(f"{source}: {what}{text}")
    if code == _OUT_OF_TIME:
        raise InputError(
            f"{source}: reading it takes more than {seconds:.0f} s of processor time; {_ADVICE}"
        )
    if code:
        raise InputError(
            f"{source}: 3D Slicer's libraries break down when they read it (exit code {code}), or "
            f"need more than the {memory / 1e9:.1f} GB of memory that are free; {_ADVICE}"
        )
