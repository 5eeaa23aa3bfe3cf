"""The packages of SurgSAM2Lib import each other in one direction only."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.extension.conftest import MODULE_FOLDER

pytest.importorskip("importlinter", reason="needs the package import-linter")


def test_no_package_imports_one_above_it() -> None:
    contracts = MODULE_FOLDER.parent / "importlinter.toml"
    command = (
        "from importlinter.cli import lint_imports; "
        f"exit(lint_imports({str(contracts)!r}, no_cache=True))"
    )
    path = os.pathsep.join([str(MODULE_FOLDER), os.environ.get("PYTHONPATH", "")])
    checked = subprocess.run(
        [sys.executable, "-c", command],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
