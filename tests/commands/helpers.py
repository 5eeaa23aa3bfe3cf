"""What the tests of the commands share: the arguments of a small job, and its results."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surgsam2.outputs import INCOMPLETE
from tests.conftest import REPOSITORY

WIDTH, HEIGHT, FRAMES = 64, 48, 8

Command = Callable[..., tuple[int, str, str]]


def prompt_file(path: Path, second_frame: int = 2) -> Path:
    """Write prompts of two objects: points on frame 0, a box on `second_frame`."""
    objects = [
        {"id": 1, "name": "liver", "prompts": [{"frame": 0, "points": [[30, 20, 1], [5, 5, 0]]}]},
        {"id": 7, "name": "hook", "prompts": [{"frame": second_frame, "box": [10, 8, 40, 30]}]},
    ]
    path.write_text(json.dumps({"version": 1, "objects": objects}))
    return path


def text_file(path: Path) -> str:
    """Write a file of plain text and return its path."""
    path.write_text("this is not a video\n" * 100)
    return str(path)


def empty_file(path: Path) -> str:
    """Write an empty file and return its path."""
    path.touch()
    return str(path)


def arguments(job: dict[str, str]) -> list[str]:
    options = [text for name, value in job.items() if name != "video" for text in (name, value)]
    return ["segment", job["video"], *options]


def looks_complete(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir()) and not (folder / INCOMPLETE).exists()


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def mask_names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "masks").iterdir())


def run_as_process(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "surgsam2", *words],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


ONLY_PACKAGES = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if path is None and top not in {*sys.stdlib_module_names, "surgsam2", *ALLOWED}:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
sys.meta_path.insert(0, Absent())
from surgsam2.cli import main
sys.exit(main(sys.argv[1:]))
"""


def with_only(packages: set[str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command where only Python and these packages can be imported."""
    return subprocess.run(
        [sys.executable, "-c", f"ALLOWED = {packages!r}\n{ONLY_PACKAGES}", *words],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
