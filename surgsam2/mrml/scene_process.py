"""The process that reads a scene before the application does; `scene_trial` starts it.

Exit code 0 says that all of the scene was read.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import slicer

from surgsam2.engine.server.bootstrap import fail
from surgsam2.errors import InputError
from surgsam2.mrml.nodes import prepare_scene
from surgsam2.mrml.scene_reading import read_description
from surgsam2.storage.json_text import parse_json

_NEEDED = "vtkSlicerSegmentationsModuleLogic"
"""A class of the modules that `prepare_scene` uses."""


def main() -> None:
    """Read the scene that standard input names; never returns."""
    settings = parse_json(sys.stdin.readline())
    if not hasattr(slicer, _NEEDED):
        _load_module_classes()
    if not hasattr(slicer, _NEEDED):
        fail("install", f"{sys.executable} does not find the libraries of 3D Slicer's modules")
    scene = slicer.vtkMRMLScene()
    prepare_scene(scene)
    try:
        _register(scene, settings["classes"])
        _limit(settings["memory"], settings["seconds"])
        read_description(scene, Path(settings["description"]))
    except InputError as error:
        fail("input", str(error))
    scene.Clear(1)
    os._exit(0)


def _load_module_classes() -> None:
    """Load the classes of Slicer's modules into `slicer`; the application does it by itself."""
    util: Any = importlib.import_module("slicer.util")
    for folder in sys.path:
        for part in ("MRML", "Logic"):
            pattern = f"vtkSlicer*Module{part}Python.*"
            util.importVTKClassesFromDirectory(folder, "slicer", pattern)


def _register(scene: Any, classes: Sequence[str]) -> None:
    """Let a scene read nodes of these classes; it ignores nodes of classes that it lacks.

    Raises:
        InputError: a class does not exist outside of 3D Slicer.
    """
    for name in classes:
        if scene.IsNodeClassRegistered(name):
            continue
        if not hasattr(slicer, name):
            raise InputError(
                f"has a node of class {name}, which cannot be tried outside of 3D Slicer; remove "
                "that node from the scene and save it again"
            )
        scene.RegisterNodeClass(getattr(slicer, name)())


def _limit(memory: int, seconds: float) -> None:
    """Limit what this process may take from now on, where the system can.

    Args:
        memory: bytes.
        seconds: seconds of processor time, of all threads together.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the patient's data
    used = resource.getrusage(resource.RUSAGE_SELF)
    _at_most(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds))
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError, IndexError):  # macOS does not keep the limit anyway
        return
    _at_most(resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE") + memory)


def _at_most(kind: int, most: int) -> None:
    """Set a limit of this process, unless a lower one cannot be raised."""
    import resource

    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(kind, (most, hard))
