"""Makes one step of a run fail: a write, a synchronisation, a renaming, a removal, an allocation.

`Faults` counts the steps of a run in order. With a number it lets that step fail once, as a full
disk or a lack of memory would, and everything after it work again.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ALLOCATIONS = {
    "surgsam2.outputs.coco": "_dump",
    "surgsam2.outputs.label_png": "label_map",
    "surgsam2.outputs.overlay": "draw_overlay",
    "surgsam2.outputs.table": "_measure",
}
"""Functions of the writers that need memory, by module."""


class Faults:
    """Counts the steps of a run that can fail, and lets one of them fail.

    Args:
        folder: writes below it are steps.
        failing: number of the step that fails, from 0; None lets all work.
    """

    def __init__(self, folder: Path, failing: int | None = None) -> None:
        self._folder = os.path.realpath(folder)
        self._failing = failing
        self._lock = threading.Lock()
        self.steps: list[str] = []
        """What each step was, such as ``write masks/00001.png``."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Count the steps of the block, in all threads."""
        with pytest.MonkeyPatch.context() as patch:
            for module, name in ((os, "replace"), (os, "fsync"), (os, "unlink"), (os, "mkdir")):
                self._watch(patch, module, name, name, OSError(errno.ENOSPC, "No space left"))
            for module, name in ((zlib, "compress"), (np, "savez"), (torch, "save")):
                self._watch(patch, module, name, f"allocation {name}", MemoryError())
            for module_name, name in ALLOCATIONS.items():
                module = importlib.import_module(module_name)
                self._watch(patch, module, name, f"allocation {name}", MemoryError())
            patch.setattr(io, "open", self._opening(io.open))
            yield

    def step(self, kind: str, error: Exception) -> None:
        """Count a step; raise the error if it is the one that fails."""
        with self._lock:
            self.steps.append(kind)
            if len(self.steps) - 1 == self._failing:
                raise error

    def _watch(
        self, patch: pytest.MonkeyPatch, module: Any, name: str, kind: str, error: Exception
    ) -> None:
        original = getattr(module, name)

        def watched(*args: Any, **options: Any) -> Any:
            place = f" {self._name(args[0])}" if args and isinstance(args[0], str | Path) else ""
            self.step(kind + place, error)
            return original(*args, **options)

        patch.setattr(module, name, watched)

    def _opening(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            name = os.path.realpath(file) if isinstance(file, str | os.PathLike) else ""
            if not name.startswith(self._folder) or mode in ("r", "rb"):
                return original(file, mode, *args, **options)
            short = self._name(name)
            self.step(f"open {short}", OSError(errno.ENOSPC, "No space left on device"))
            return _WatchedFile(original(file, mode, *args, **options), short, self)

        return opened

    def _name(self, path: str | Path) -> str:
        return os.path.relpath(os.path.realpath(path), self._folder)


class _WatchedFile:
    """A file whose writes are steps."""

    def __init__(self, file: Any, name: str, faults: Faults) -> None:
        self._file, self._name, self._faults = file, name, faults

    def _step(self, kind: str) -> None:
        self._faults.step(f"{kind} {self._name}", OSError(errno.ENOSPC, "No space left on device"))

    def write(self, data: Any) -> int:
        self._step("write")
        written: int = self._file.write(data)
        return written

    def flush(self) -> None:
        self._step("flush")
        self._file.flush()

    def truncate(self, size: int | None = None) -> int:
        self._step("truncate")
        length: int = self._file.truncate(size)
        return length

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _WatchedFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
