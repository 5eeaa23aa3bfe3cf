"""Sees what a block of Python does to the file system, to other programs and to the network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHANGES = {
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.link": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
}
"""Python's audit events that change files, with the positions of their paths."""
_IN_FOLDERS = ("os.remove", "os.rmdir")
_OTHERS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")
_SINKS = ("/dev/", "/proc/self/task/")


class _Seen(list[str]):
    """Names of files with links followed, and of other audit events."""

    def add(self, name: str) -> None:
        self.append(os.path.realpath(name))


_watching: list[_Seen] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = any(c in mode for c in "wxa+") if mode else flags & (os.O_WRONLY | os.O_RDWR)
        if writes and isinstance(path, str | bytes | os.PathLike):
            _watching[-1].add(os.fsdecode(path))
    elif event in _CHANGES:
        # `shutil.rmtree` gives names in a folder that it has opened
        opened = [n for n in arguments[1:] if type(n) is int and n >= 0 and event in _IN_FOLDERS]
        for position in _CHANGES[event]:
            if isinstance(arguments[position], str | bytes | os.PathLike):
                name = Path(os.fsdecode(arguments[position]))
                place = f"/proc/self/fd/{opened[0]}" if opened else name.parent
                # A link itself is changed, not what it points at.
                _watching[-1].append(f"{os.path.realpath(place)}/{name.name}")
    elif event in _OTHERS:
        _watching[-1].append(f"{event} {arguments[:1]}")


_hooked: list[bool] = []


@contextmanager
def watching(changed: list[str]) -> Iterator[None]:
    """Add to a list every file that the block writes or changes, and what else it does.

    Args:
        changed: takes absolute paths with links followed, and the names of Python's audit events
            for programs that are started and connections that are made.
    """
    if not _hooked:  # a hook stays for good
        sys.addaudithook(_note)
        _hooked.append(True)
    seen = _Seen()
    _watching.append(seen)
    try:
        yield
    finally:
        _watching.pop()
    changed += [name for name in seen if not name.startswith(_SINKS)]


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return kind, size and time of change of all files and links below a folder by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if not path.is_dir() or path.is_symlink():
            found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found
