"""Adds what a scene description describes to a scene.

Both the process that tries a scene first and the one that uses it do this.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slicer

from surgsam2.errors import InputError
from surgsam2.storage.temporary import TemporaryFolder

_MAX_REASON = 300  # characters of MRML's own message


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
    """Restore the working directory, which unpacking a damaged archive changes."""
    here = Path.cwd()
    try:
        yield
    finally:
        os.chdir(here)


@contextlib.contextmanager
def _cache_of(scene: Any) -> Iterator[None]:
    """Give a bare scene a cache meanwhile: sequences in a scene are unpacked into it.

    If the cache stayed in the scene, it would make its folder again whenever the scene is saved.
    """
    if scene.GetCacheManager() is not None:
        yield
        return
    with TemporaryFolder() as folder:
        cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
        cache.SetRemoteCacheDirectory(str(folder))
        manager.SetCacheManager(cache)
        scene.SetCacheManager(cache)
        scene.SetDataIOManager(manager)
        try:
            yield
        finally:
            scene.SetDataIOManager(None)
            scene.SetCacheManager(None)
