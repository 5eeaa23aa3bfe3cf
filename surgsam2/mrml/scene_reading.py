"""A scene description is added to a scene, in the process that uses it and in the one before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import slicer

from surgsam2.errors import InputError

_MAX_REASON = 300  # letters of what MRML says


def read_description(scene: Any, description: Path) -> None:
    """Add all that a ``.mrml`` file describes to a scene that `prepare_scene` prepared.

    Raises:
        InputError: something of it cannot be read; the rest is in the scene.
    """
    messages = slicer.vtkMRMLMessageCollection()
    with _cache_of(scene), _staying_here():
        scene.SetURL(str(description))
        if not scene.Import(messages):
            said = " ".join(messages.GetAllMessagesAsString().split())
            reason = said.replace(f"{description.parent}/", "")[:_MAX_REASON]
            raise InputError(f"it cannot be read as a scene ({reason}); is it complete?")


@contextlib.contextmanager
def _staying_here() -> Iterator[None]:
    """Unpacking a damaged archive leaves the process in another working directory."""
    here = Path.cwd()
    try:
        yield
    finally:
        os.chdir(here)


@contextlib.contextmanager
def _cache_of(scene: Any) -> Iterator[None]:
    """Sequences in a scene are unpacked into its cache; a bare scene gets one meanwhile.

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
