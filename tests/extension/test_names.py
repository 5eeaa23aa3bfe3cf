"""Tests that every name of Slicer, Qt, CTK and VTK that the extension uses exists.

`slicer_names.txt` says for each where this was verified:
    wheel           it exists in the slicer-core package (looked up by this test)
    qt              it exists in Qt (looked up in PySide6 by this test)
    source: FILE    read there, in Slicer's source
    extension: NAME it belongs to that extension of Slicer
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.extension.used_names import used_names
from tests.slicer_host.host import SlicerHost

LIST = Path(__file__).with_name("slicer_names.txt")

# a separate process, because the test host adds names to `slicer`
LOOK_UP = """
import importlib, json, sys
def exists(name):
    parts = name.replace("slicer.mrmlScene", "slicer.vtkMRMLScene").split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False
print(json.dumps([name for name in json.load(sys.stdin) if not exists(name)]))
"""


def listed() -> dict[str, str]:
    """Return where each name was verified."""
    lines = [line for line in LIST.read_text(encoding="utf-8").splitlines() if line.strip()]
    entries = dict(line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    assert len(entries) == sum(not line.startswith("#") for line in lines), "listed twice"
    return entries


def test_every_used_name_is_listed() -> None:
    known = listed()
    unknown = {name: file for name, file in used_names().items() if name not in known}
    assert not unknown, f"verify these and add them to {LIST.name}: {unknown}"


def test_every_listed_name_is_used() -> None:
    unused = set(listed()) - set(used_names())
    assert not unused, f"remove these from {LIST.name}: {sorted(unused)}"


def test_names_of_the_wheel_exist() -> None:
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("slicer-core is not installed")
    names = [name for name, where in listed().items() if where == "wheel"]
    done = subprocess.run(
        [sys.executable, "-c", LOOK_UP],
        input=json.dumps(names),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_names_of_qt_exist(slicer_app: SlicerHost) -> None:
    import qt

    for name, where in listed().items():
        if where == "qt":
            found: Any = qt
            for part in name.split(".")[1:]:
                found = getattr(found, part)


def test_the_rest_says_where_it_was_read() -> None:
    for name, where in listed().items():
        kind, _, place = where.partition(": ")
        assert kind in ("wheel", "qt") or (kind in ("source", "extension") and place), name


def test_no_torchvision_and_no_torch_on_the_application_s_side() -> None:
    """Only the engine process imports the packages of the engine."""
    extension = Path(__file__).parents[2] / "SurgSAM2Extension"
    for path in extension.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for name in ("torch", "torchvision", "sam2", "cv2"):
            assert f"import {name}\n" not in text, path
            assert f"from {name}" not in text, path
