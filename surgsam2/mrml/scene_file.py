"""Scenes to and from files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import is_zipfile

import slicer

from surgsam2.errors import InputError, OutputError
from surgsam2.mrml.nodes import prepare_scene
from surgsam2.storage.atomic_file import replace, writing

SUFFIX = ".mrb"


def save_scene(scene: Any, path: str | PathLike[str]) -> None:
    """Writes everything in a scene to one ``.mrb`` file, or leaves the file that was there.

    Raises:
        InputError: the name does not end in ``.mrb``.
        OutputError: it cannot be written.
    """
    path = Path(path).absolute()  # the archive is packed from another folder
    _check_suffix(path)
    prepare_scene(scene)
    with writing(path), TemporaryDirectory(prefix=".surgsam2-", dir=path.parent) as folder:
        # the file's name goes into the archive, hence a folder rather than another name
        temporary = Path(folder) / path.name
        if not scene.WriteToMRB(str(temporary), None) or not temporary.is_file():
            raise OutputError(
                f"cannot write {path}: the scene could not be packed; is there space on the disk?"
            )
        replace(temporary, path)


def load_scene(scene: Any, path: str | PathLike[str]) -> None:
    """Adds everything in a ``.mrb`` file to a scene; empty the scene first to replace it.

    For scripts; in Slicer use *Add data* or ``slicer.util.loadScene``.

    Raises:
        InputError: there is no such file, or it is no scene.
    """
    path = Path(path).absolute()  # it is unpacked from another folder
    _check_suffix(path)
    if not path.is_file():
        raise InputError(f"there is no scene file {path}")
    prepare_scene(scene)
    with _unpacking(scene), _staying_here():
        if not is_zipfile(path) or not scene.ReadFromMRB(str(path), False, None):
            raise InputError(f"{path} cannot be read as a scene; is it complete?")


@contextlib.contextmanager
def _staying_here() -> Iterator[None]:
    """Unpacking a damaged archive leaves the process in another working directory."""
    here = Path.cwd()
    try:
        yield
    finally:
        os.chdir(here)


@contextlib.contextmanager
def _unpacking(scene: Any) -> Iterator[None]:
    """Reading an archive unpacks it into the scene's cache; a bare scene gets one meanwhile.

    Left in the scene, the cache would make its folder again whenever the scene is saved.
    """
    if scene.GetCacheManager() is not None:
        yield
        return
    with TemporaryDirectory(prefix="surgsam2-") as folder:
        cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
        cache.SetRemoteCacheDirectory(folder)
        manager.SetCacheManager(cache)
        scene.SetCacheManager(cache)
        scene.SetDataIOManager(manager)
        try:
            yield
        finally:
            scene.SetDataIOManager(None)
            scene.SetCacheManager(None)


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"a scene file ends in {SUFFIX}, got {path.name!r}")
